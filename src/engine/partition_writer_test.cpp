// What a node writes of its members, call after call, against a Redis that answers when the test says so.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/cluster.h"
#include "engine/redis_rig.h"
#include "engine/scripts.h"

namespace starling::engine {
namespace {

using namespace domain;

using testing::ElementsAre;
using testing::IsEmpty;

// A node with one partition. Calls that carry operations wait in `asked_`; everything else is answered at once.
class PartitionWriter : public testing::Test {
 protected:
    PartitionWriter() : helper_({}), cluster_(settings(), redis(), 1) {
        out_ = {};
        cluster_.start(now(), out_);
        run();
        const Instant until = instant_ + 20ms;
        while (cluster_.next_deadline() && *cluster_.next_deadline() <= until) {
            instant_ = std::max(instant_, *cluster_.next_deadline());
            cluster_.on_deadline(now(), out_);
            run();
        }
    }
    static ClusterSettings settings() {
        ClusterSettings out;
        out.node_id = "n";
        out.partitions = 1;
        out.apps = {"default"};
        out.ingress = false;
        out.operations_max = 4;
        return out;
    }
    static RedisSettings redis() {
        RedisSettings out;
        out.servers = {{.host = "redis", .port = 6379}};
        return out;
    }
    Now now() const { return {instant_, 1700}; }
    void enter(const std::string& channel, const std::string& user) {
        EngineCall call = Enter{{0, channel}, user, {}, {}};
        cluster_.on_call(call, now(), out_);
        run();
    }
    void leave(const std::string& channel, const std::string& user) {
        EngineCall call = Exit{{0, channel}, user, Departure::clean};
        cluster_.on_call(call, now(), out_);
        run();
    }
    // "2: a +ada +bob, b +ada" for each call that waits: its sequence, its channels and their operations.
    std::vector<std::string> asked() const {
        std::vector<std::string> out;
        for (const auto& [link, words] : asked_) {
            std::string text = words[6] + ":";
            for (std::size_t i = 10; i < words.size();) {
                const std::size_t count = std::stoul(words[i + 1]);
                text += (i == 10 ? " " : ", ") + words[i].substr(words[i].find('/') + 1);
                for (std::size_t k = 0; k < count; ++k) { text += " " + words[i + 2 + 6 * k] + words[i + 3 + 6 * k]; }
                i += 2 + 6 * count;
            }
            out.push_back(text);
        }
        return out;
    }
    void answer(const std::string& status = "OK") {
        ASSERT_FALSE(asked_.empty());
        const auto [link, words] = asked_.front();
        asked_.erase(asked_.begin());
        std::vector<std::string> positions;
        for (std::size_t i = 10; i < words.size();) {
            const std::size_t count = std::stoul(words[i + 1]);
            positions.push_back(Rig::bulk("epoch"));
            positions.push_back(Rig::bulk("1"));
            for (std::size_t k = 0; k < count; ++k) {
                const std::int64_t hash = std::stoll(words[i + 4 + 6 * k]);
                digest_ += words[i + 2 + 6 * k] == "+" ? hash : -hash;
            }
            i += 2 + 6 * count;
        }
        give(link, Rig::list({Rig::bulk(status), Rig::bulk(words[6]), Rig::bulk(std::to_string(digest_)), Rig::bulk("1"), Rig::list(positions), Rig::list({})}));
        for (const Rig::Words& next : std::exchange(behind_, {})) { serve(link, peers_.at(link), next); }
        run();
    }
    // Nobody knows what became of the calls on their way.
    void cut() {
        asked_.clear();
        behind_.clear();
        for (auto& [link, peer] : peers_) {
            if (std::exchange(peer.open, false)) { cluster_.on_closed(link, "reset by peer", now(), out_); }
        }
        run();
        const Instant until = instant_ + 500ms;
        while (cluster_.next_deadline() && *cluster_.next_deadline() <= until) {
            instant_ = std::max(instant_, *cluster_.next_deadline());
            cluster_.on_deadline(now(), out_);
            run();
        }
    }

 private:
    void run() {
        while (!out_.actions.empty()) {
            for (Action& action : std::exchange(out_.actions, {})) { perform(action); }
        }
        out_.events.clear();
    }
    void perform(Action& action) {
        if (const auto* connect = std::get_if<Connect>(&action)) {
            peers_[connect->link].address = "redis:6379";
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
                Rig::Words words;
                for (auto& element : (*value)->elements) { words.push_back(std::move(element.text)); }
                serve(write.link, peer, words);
            }
        }
    }
    void serve(LinkId link, Rig::Peer& peer, const Rig::Words& words) {
        if (!asked_.empty() && asked_.front().first == link) {
            behind_.push_back(words);        // A server answers in order.
            return;
        }
        if (const auto usual = helper_.usual(peer, words)) {
            give(link, *usual);
            return;
        }
        const auto is = [&](const Script& script) { return words[1] == script.sha || words[1] == script.text; };
        const auto bulk = Rig::bulk;
        if (is(scripts::apply()) && words.size() > 10) {
            asked_.emplace_back(link, words);
            return;
        }
        if (is(scripts::reg()) || is(scripts::apply())) {
            const std::string o = is(scripts::reg()) ? "0" : words[6];
            give(link, Rig::list({bulk("OK"), bulk(o), bulk(std::to_string(digest_)), bulk("1"), Rig::list({}), Rig::list({})}));
            return;
        }
        if (is(scripts::meta())) {
            give(link, Rig::list({bulk("")}));
            return;
        }
        ASSERT_TRUE(is(scripts::snap())) << words[1];
        std::vector<std::string> out;
        for (std::size_t i = 6; i < words.size(); i += 2) {
            out.push_back(Rig::list({bulk(""), bulk("0"), bulk(""), bulk("0"), bulk(""), bulk("0"), bulk(""), bulk("0"), ":0\r\n", Rig::list({})}));
        }
        give(link, Rig::list(out));
    }
    void give(LinkId link, const std::string& bytes) { cluster_.on_bytes(link, bytes, now(), out_); }

    Rig helper_;                             // For the usual answers of a server.
    Cluster cluster_;
    Output out_;
    std::map<LinkId, Rig::Peer> peers_;
    std::vector<std::pair<LinkId, Rig::Words>> asked_;
    std::vector<Rig::Words> behind_;         // Commands behind the one that waits.
    Instant instant_{1000s};
    std::int64_t digest_ = 0;
};

TEST_F(PartitionWriter, WhatComesWhileACallIsOnItsWayGoesTogether) {
    enter("a", "ada");
    EXPECT_THAT(asked(), ElementsAre("1: a +ada"));
    enter("b", "ada");
    enter("c", "bob");
    enter("b", "bob");
    EXPECT_THAT(asked(), ElementsAre("1: a +ada"));
    answer();
    EXPECT_THAT(asked(), ElementsAre("2: b +ada +bob, c +bob"));
    leave("a", "ada");
    enter("c", "cyd");
    answer();
    EXPECT_THAT(asked(), ElementsAre("3: c +cyd, a cada"));
    answer();
    EXPECT_THAT(asked(), IsEmpty());
}

TEST_F(PartitionWriter, ACallOfManyChannelsIsSentAgainAsItWas) {
    enter("a", "ada");
    enter("b", "ada");
    enter("c", "ada");
    answer();
    EXPECT_THAT(asked(), ElementsAre("2: b +ada, c +ada"));
    cut();
    enter("d", "ada");
    EXPECT_THAT(asked(), ElementsAre("2: b +ada, c +ada"));
    answer("DUP");                           // It was done; the reply was lost.
    EXPECT_THAT(asked(), ElementsAre("3: d +ada"));
}

TEST_F(PartitionWriter, NoCallIsLargerThanItsLimitAndNobodyWaitsForEver) {
    enter("m", "ada");
    for (const char* user : {"u1", "u2", "u3", "u4", "u5", "u6"}) { enter("a", user); }
    enter("z", "ada");
    answer();
    EXPECT_THAT(asked(), ElementsAre("2: z +ada, a +u1 +u2 +u3"));
    enter("b", "ada");
    answer();
    EXPECT_THAT(asked(), ElementsAre("3: b +ada, a +u4 +u5 +u6"));
}

}  // namespace
}  // namespace starling::engine
