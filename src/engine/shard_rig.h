#pragma once
// Whole shards with the memory engine on virtual time, spoken to in wire text alone. For tests.

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "domain/mail.h"
#include "domain/shard.h"
#include "engine/memory.h"

namespace starling::engine {

using domain::AppSettings;
using domain::AskEngine;
using domain::BackendReply;
using domain::Close;
using domain::Effect;
using domain::Effects;
using domain::EngineEvent;
using domain::Fanout;
using domain::Heard;
using domain::MailTo;
using domain::Peers;
using domain::Right;
using domain::Rights;
using domain::Send;
using domain::SessionId;
using domain::Settings;
using domain::Shard;
using domain::ShardIdentity;
using domain::Tell;
using domain::kAllRights;

inline std::shared_ptr<Settings> settings() {
    auto out = std::make_shared<Settings>();
    out->development = true;
    out->partitions = 256;
    out->resume_secret = std::string(32, 's');
    AppSettings app;
    app.namespaces.push_back({.name = "", .allow = kAllRights, .history_size = 5});
    app.namespaces.push_back({.name = "live", .allow = kAllRights});
    app.namespaces.push_back({.name = "price", .allow = kAllRights, .conflate = 100ms});
    app.namespaces.push_back({.name = "closed", .allow = static_cast<Rights>(Right::subscribe)});
    out->apps.push_back(std::move(app));
    return out;
}

// One node of some shards, or several: mail goes round in order until there is none, and what nodes tell each
// other is heard at once.
class World {
 public:
    struct Client {
        std::uint32_t shard = 0;             // Over all nodes.
        SessionId session;
        std::vector<std::string> frames;
        std::optional<std::uint16_t> closed;
    };

    explicit World(std::uint32_t shards, std::uint32_t nodes = 1, std::shared_ptr<Settings> with = settings())
        : per_node_(shards) {
        for (std::uint32_t i = 0; i < shards * nodes; ++i) {
            ShardIdentity identity{.node_id = node_id(i / shards), .address = "", .version = ""};
            identity.index = i % shards;
            identity.count = shards;
            identity.seed = i + 1;
            shards_.push_back(std::make_unique<Shard>(identity, with, now()));
            engines_.push_back(std::make_unique<Memory>(with->linger, i + 100));
        }
    }
    static std::string node_id(std::uint32_t node) { return node == 0 ? "node" : "node" + std::to_string(node); }
    // The nodes learn of each other.
    void introduce() {
        for (std::uint32_t at = 0; at < shards_.size(); at += per_node_) {
            Peers peers;
            for (std::uint32_t node = 0; node * per_node_ < shards_.size(); ++node) { peers.nodes.push_back({node_id(node), "a", false}); }
            tell(at, std::move(peers));
        }
    }
    void silence(std::uint32_t node) { silent_ = node; }     // It hears nothing any more.
    void tell(std::uint32_t shard, EngineEvent event) {
        Effects out;
        shards_[shard]->on_engine(event, now(), out);
        take(shard, out);
    }
    Now now() const { return {Instant{} + 1h + time_, 1000000 + time_ / 1ms}; }
    Client& open(std::uint32_t shard, const std::string& user) {
        clients_.push_back({.shard = shard % static_cast<std::uint32_t>(shards_.size())});
        Client& client = clients_.back();
        Effects out;
        client.session = shards_[client.shard]->on_open({}, now(), out);
        take(client.shard, out);
        say(client, R"({"type":"connect","user":")" + user + "\"}");
        return client;
    }
    void say(Client& client, const std::string& text) {
        Effects out;
        shards_[client.shard]->on_text(client.session, text, now(), out);
        take(client.shard, out);
    }
    void cut(Client& client, std::uint16_t code) {
        Effects out;
        shards_[client.shard]->on_closed(client.session, code, now(), out);
        take(client.shard, out);
    }
    const codec::backend::Reply& reply() const { return reply_; }
    codec::backend::Reply ask(codec::backend::Request request) {
        reply_ = {};
        Effects out;
        shards_[0]->on_backend(1, 0, std::move(request), now(), out);
        take(0, out);
        return reply_;
    }
    void pass(Duration duration) {
        const Duration end = time_ + duration;
        while (true) {
            std::optional<Instant> next;
            for (std::uint32_t i = 0; i < shards_.size(); ++i) {
                for (const auto deadline : {shards_[i]->next_deadline(), engines_[i]->next_deadline()}) {
                    if (deadline && (!next || *deadline < *next)) { next = deadline; }
                }
            }
            if (!next || *next > Instant{} + 1h + end) { break; }
            time_ = std::max(time_, *next - (Instant{} + 1h));
            for (std::uint32_t i = 0; i < shards_.size(); ++i) {
                Effects out;
                Output told;
                engines_[i]->on_deadline(now(), told);
                for (auto& event : told.events) { shards_[i]->on_engine(event, now(), out); }
                shards_[i]->on_deadline(now(), out);
                take(i, out);
            }
        }
        time_ = end;
    }
    // What came since the last look.
    std::vector<std::string> heard(Client& client) { return std::exchange(client.frames, {}); }
    void forget_all() {
        for (auto& client : clients_) { client.frames.clear(); }
    }
    Shard& shard(std::uint32_t index) { return *shards_[index]; }
    Memory& engine(std::uint32_t index) { return *engines_[index]; }

 private:
    void take(std::uint32_t from, Effects& effects) {
        std::deque<std::pair<std::uint32_t, Effect>> queue;
        for (auto& effect : effects) { queue.emplace_back(from, std::move(effect)); }
        while (!queue.empty()) {
            auto [shard, effect] = std::move(queue.front());
            queue.pop_front();
            if (auto* mail = std::get_if<MailTo>(&effect)) {
                Effects out;
                const std::uint32_t target = shard - shard % per_node_ + mail->shard;
                shards_[target]->on_mail(*mail->mail, now(), out);
                for (auto& next : out) { queue.emplace_back(target, std::move(next)); }
            } else if (auto* ask = std::get_if<AskEngine>(&effect)) {
                if (auto* said = std::get_if<Tell>(ask->call.get())) {
                    for (std::uint32_t at = 0; at < shards_.size(); at += per_node_) {
                        const std::uint32_t node = at / per_node_;
                        if (node == shard / per_node_ || node == silent_ || (!said->node.empty() && said->node != node_id(node))) { continue; }
                        EngineEvent heard = Heard{node_id(shard / per_node_), said->payload};
                        Effects out;
                        shards_[at]->on_engine(heard, now(), out);
                        for (auto& next : out) { queue.emplace_back(at, std::move(next)); }
                    }
                }
                Output told;
                engines_[shard]->on_call(*ask->call, now(), told);
                Effects out;
                for (auto& event : told.events) { shards_[shard]->on_engine(event, now(), out); }
                for (auto& next : out) { queue.emplace_back(shard, std::move(next)); }
            } else if (auto* send = std::get_if<Send>(&effect)) {
                if (Client* client = find(shard, send->session)) { client->frames.emplace_back(send->text.view()); }
            } else if (auto* fanout = std::get_if<Fanout>(&effect)) {
                for (const SessionId session : fanout->sessions) {
                    if (Client* client = find(shard, session)) { client->frames.emplace_back(fanout->text.view()); }
                }
            } else if (auto* close = std::get_if<Close>(&effect)) {
                if (Client* client = find(shard, close->session)) { client->closed = close->code; }
            } else if (auto* reply = std::get_if<BackendReply>(&effect)) {
                reply_ = reply->reply;
            }
        }
    }
    Client* find(std::uint32_t shard, SessionId session) {
        for (auto& client : clients_) {
            if (client.shard == shard && client.session == session) { return &client; }
        }
        return nullptr;
    }

    std::uint32_t per_node_;
    std::optional<std::uint32_t> silent_;
    std::vector<std::unique_ptr<Shard>> shards_;
    std::vector<std::unique_ptr<Memory>> engines_;
    std::deque<Client> clients_;
    codec::backend::Reply reply_;
    Duration time_ = 0s;
};

}  // namespace starling::engine
