#pragma once
// For tests: a Redis on loopback that is scripted.

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/redis_rig.h"
#include "server/listener_rig.h"

namespace starling::server {

// A Redis as far as a handshake, a subscription and a probe go (engine/redis_rig.h); what else is asked is answered by the hook,
// and left without an answer where that has none either.
class RespServer {
 public:
    using Words = engine::Rig::Words;
    // The answer where a test wants another than the usual one. With `hang_up` the connection ends behind it.
    struct Answer { std::string bytes; bool hang_up = false; };
    using Hook = std::function<std::optional<Answer>(const Words& words)>;

    explicit RespServer(Hook hook = {}, std::string mode = "standalone", std::string version = "7.0.15")
        : hook_(std::move(hook)), usual_(usual_of(std::move(mode), std::move(version))), server_([this](int peer) { serve(peer); }) {}
    std::uint16_t port() const { return server_.port(); }
    std::string address() const { return server_.address(); }
    std::vector<Words> asked() {
        const std::lock_guard lock(mutex_);
        return asked_;
    }

 private:
    static engine::Rig usual_of(std::string mode, std::string version) {
        engine::Rig rig{{}};
        rig.mode = std::move(mode);
        rig.version = std::move(version);
        return rig;
    }
    static void send(int peer, std::string_view bytes) { (void)::send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
    void serve(int fd) {
        char part[4096];
        for (ssize_t size = ::recv(fd, part, sizeof part, 0); size > 0; size = ::recv(fd, part, sizeof part, 0)) {
            const std::lock_guard lock(mutex_);
            engine::Rig::Peer& peer = peers_[fd];
            peer.reader.feed({part, static_cast<std::size_t>(size)});
            for (auto value = peer.reader.next(); value; value = peer.reader.next()) {
                if (!*value) { break; }
                Words words;
                for (auto& element : (*value)->elements) { words.push_back(std::move(element.text)); }
                if (words.empty() || !answer(fd, peer, words)) {
                    peers_.erase(fd);
                    return;
                }
            }
        }
        const std::lock_guard lock(mutex_);
        peers_.erase(fd);
    }
    bool answer(int fd, engine::Rig::Peer& peer, const Words& words) {
        asked_.push_back(words);
        const auto own = hook_ ? hook_(words) : std::nullopt;
        if (own) {
            send(fd, own->bytes);
            return !own->hang_up;
        }
        if (const auto text = usual_.usual(peer, words)) { send(fd, *text); }
        if (words[0] == "PUBLISH" || words[0] == "SPUBLISH") {
            const auto bulk = engine::Rig::bulk;
            for (const auto& [other, listening] : peers_) {
                if (!listening.channels.contains(words[1])) { continue; }
                send(other, engine::Rig::list({bulk(words[0] == "PUBLISH" ? "message" : "smessage"), bulk(words[1]), bulk(words[2])}));
            }
        }
        return true;
    }

    Hook hook_;
    engine::Rig usual_;
    std::mutex mutex_;
    std::map<int, engine::Rig::Peer> peers_;
    std::vector<Words> asked_;
    ScriptedServer server_;                  // Last: its threads use all of the above.
};

}  // namespace starling::server
