#pragma once
// For tests of a partition from outside: a whole node with one partition on virtual time, and a server in memory that
// answers the usual commands. What the scripts answer is each test's own story: it overrides `serve`.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/cluster.h"
#include "engine/redis_rig.h"
#include "engine/scripts.h"

namespace starling::engine {

class PartitionRig : public testing::Test {
 protected:
    using Words = Rig::Words;

    explicit PartitionRig(ClusterSettings settings = one_partition()) : helper_({}), cluster_(std::move(settings), only_server(), 1) {}
    static ClusterSettings one_partition() {
        ClusterSettings out;
        out.node_id = "n";
        out.partitions = 1;
        out.apps = {"default"};
        out.ingress = false;
        return out;
    }
    // Not in the constructor: what the server answers is the derived class' to say.
    void SetUp() override {
        cluster_.start(now(), out_);
        run();
        pass(20ms);
    }

    // --- the node ---
    Now now() const { return {instant_, 1700}; }
    void call(domain::EngineCall call) {
        cluster_.on_call(call, now(), out_);
        run();
    }
    void pass(Duration time) {
        const Instant until = instant_ + time;
        int turns = 0;
        while (cluster_.next_deadline() && *cluster_.next_deadline() <= until) {
            instant_ = std::max(instant_, *cluster_.next_deadline());
            cluster_.on_deadline(now(), out_);
            run();
            ASSERT_LT(++turns, 10000) << "deadlines that do not move on";
        }
        instant_ = until;
    }
    // Performs what was asked for until nothing is left to do.
    void run() {
        while (!out_.actions.empty()) {
            for (Action& action : std::exchange(out_.actions, {})) { perform(action); }
        }
        for (auto& event : std::exchange(out_.events, {})) { told_.push_back(std::move(event)); }
    }
    // All links end; what was on its way is lost.
    void close_links() {
        for (auto& [link, peer] : peers_) {
            if (std::exchange(peer.open, false)) { cluster_.on_closed(link, "reset by peer", now(), out_); }
        }
        run();
    }

    // --- the server ---
    // One command that came by a link. A server answers those of one link in order.
    virtual void serve(LinkId link, Rig::Peer& peer, const Words& words) = 0;
    // Answers a command that needs no script.
    bool served_as_usual(LinkId link, Rig::Peer& peer, const Words& words) {
        const auto answer = helper_.usual(peer, words);
        if (!answer) { return false; }
        give(link, *answer);
        if (words[0] == "PUBLISH") { announce(words[1], words[2]); }   // A standalone server knows no other.
        return true;
    }
    void announce(const std::string& channel, const std::string& payload) {
        for (auto& [link, peer] : peers_) {
            if (peer.open && peer.channels.contains(channel)) { give(link, Rig::list({Rig::bulk("message"), Rig::bulk(channel), Rig::bulk(payload)})); }
        }
    }
    void give(LinkId link, const std::string& bytes) { cluster_.on_bytes(link, bytes, now(), out_); }
    // A script goes by its text the first time.
    static bool is(const Words& words, const Script& script) { return words[1] == script.sha || words[1] == script.text; }
    // What reg() and apply() answer; `positions`: epoch and version of each channel.
    std::string lease(const std::string& status, const std::string& o, const std::vector<std::string>& positions = {}) const {
        const auto bulk = Rig::bulk;
        return Rig::list({bulk(status), bulk(o), bulk(std::to_string(digest_)), bulk(std::to_string(counter_)), Rig::list(positions),
                          Rig::list(others_), bulk(std::to_string(members_))});
    }
    // Another node's lease, by how often it has written.
    void other(const std::string& o) {
        others_ = {Rig::bulk("m.1"), Rig::bulk(o), Rig::bulk("live"), Rig::bulk("m"), Rig::bulk("1/1000/8500/5000/2")};
    }
    // What snap() answers for a channel with one member, at version 3 ...
    static std::string only_member(const std::string& user) {
        const auto bulk = Rig::bulk;
        return Rig::list({bulk("epoch"), bulk("3"), bulk("t3"), bulk("7"), bulk(""), bulk("0"), bulk(""), bulk("0"), ":1\r\n",
                          Rig::list({bulk(user), bulk("7:1000:1:0:")})});
    }
    // ... and that member's removal, by another node.
    static std::string removal(const std::string& user, const std::string& iid) {
        const auto field = [](const std::string& word) { return std::to_string(word.size()) + ":" + word; };
        return "P" + field("epoch") + field("4") + field("t3") + field("t4") + field(iid) + "L" + field(user) + field("7:1000:1:0:");
    }
    // What snap() answers where nobody is present and every log ends there.
    static std::string snapshot(const Words& words, const std::string& epoch, const std::string& offset, const std::string& id) {
        const auto bulk = Rig::bulk;
        std::vector<std::string> out;
        for (std::size_t i = 6; i < words.size(); i += 2) {
            out.push_back(Rig::list({bulk(""), bulk("0"), bulk(""), bulk("0"), bulk(epoch), bulk(offset), bulk(id), bulk("0"), ":0\r\n", Rig::list({})}));
        }
        return Rig::list(out);
    }

    Rig helper_;                             // For the usual answers of a server.
    Cluster cluster_;
    Output out_;
    domain::EngineEvents told_;
    std::map<LinkId, Rig::Peer> peers_;
    Instant instant_{1000s};
    std::int64_t digest_ = 0;                // Of this node's own members, as the server has them.
    int counter_ = 1, members_ = 0;          // The partition's n and np.
    std::vector<std::string> others_;        // The leases of other nodes, in their words.

 private:
    void perform(Action& action) {
        if (const auto* connect = std::get_if<Connect>(&action)) {
            peers_[connect->link].address = kOnlyServer;
            cluster_.on_connected(connect->link, now(), out_);
        } else if (const auto* gone = std::get_if<Disconnect>(&action)) {
            peers_.at(gone->link).open = false;
        } else {
            const auto& write = std::get<Write>(action);
            Rig::Peer& peer = peers_.at(write.link);
            peer.reader.feed(write.bytes);
            while (peer.open) {
                auto value = peer.reader.next();
                ASSERT_TRUE(value);
                if (!*value) { break; }
                Words words;
                for (auto& element : (*value)->elements) { words.push_back(std::move(element.text)); }
                serve(write.link, peer, words);
            }
        }
    }
};

}  // namespace starling::engine
