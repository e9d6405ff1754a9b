// The end of a channel's log as a node follows it, against a Redis whose log the test writes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/partition_rig.h"
#include "engine/wire.h"

namespace starling::engine {
namespace {

using namespace domain;

using testing::ElementsAre;
using testing::IsEmpty;

const ChannelRef kChannel{.app = 0, .name = "doc:1"};
constexpr HistoryLimits kLimits{.size = 100, .ttl = 0s};

// The server knows leases by number alone, no members, and the log that the test gives it.
class PartitionLog : public PartitionRig {
 protected:
    struct Entry { std::string id, before; };

    // --- the node ---
    void listen() { call(Listen{kChannel, kLimits}); }
    // A client that comes back: "recovered 2 to 5", "fork to 5".
    std::string recover(Position since) {
        told_.clear();
        Read read{.call = ++calls_, .channel = kChannel, .recover = true, .since = since};
        read.log = kLimits;
        call(std::move(read));
        for (const auto& event : told_) {
            const auto* answer = std::get_if<ReadAnswer>(&event);
            if (answer == nullptr || answer->call != calls_) { continue; }
            if (answer->result) {
                return "recovered " + std::to_string(answer->result->messages.size()) + " to " + std::to_string(answer->result->top->offset);
            }
            const auto& refused = answer->result.error();
            if (const auto* why = std::get_if<RecoverFailure>(&refused.why)) { return std::string(name(*why)) + " to " + std::to_string(refused.top->offset); }
            return "unavailable";
        }
        return "nothing";
    }
    // "n" a message of this offset, "broken n" a log that does not continue, since the last look.
    std::vector<std::string> heard() {
        std::vector<std::string> out;
        for (const auto& event : std::exchange(told_, {})) {
            if (const auto* message = std::get_if<Delivered>(&event)) { out.push_back(std::to_string(message->message.offset)); }
            if (const auto* broken = std::get_if<Broken>(&event)) { out.push_back("broken " + std::to_string(broken->top->offset)); }
        }
        return out;
    }

    // --- the server ---
    void publish(const std::string& id, bool announced = true) {
        const std::string before = log_.empty() ? "" : log_.back().id;
        log_.push_back({id, before});
        ++counter_;
        if (!announced) { return; }
        std::string payload = "M";
        for (const std::string& field : {std::string("epoch"), std::to_string(log_.size()), before, id, body(id), std::string()}) { append_field(payload, field); }
        announce("st:{" + make_tags(1)[0] + "}:c:default/doc:1", payload);
        run();
    }
    // All links end; the server is back at once, as the same run or as another.
    void cut(bool restarted) {
        if (restarted) { helper_.runs[kOnlyServer] = "run " + std::to_string(++runs_); }
        close_links();
    }
    Position at(std::uint64_t offset) const { return {"epoch", offset, log_.at(offset - 1).id}; }

    std::vector<Entry> log_;                 // Offset 1 first.
    int reads_ = 0;                          // Of the log, so far.
    std::string looks_;                      // At what, so far.
    int refused_looks_ = 0;                  // The next ones.

 private:
    static std::string body(const std::string& id) {
        Message message;
        message.data = '"' + id + '"';
        return encode_body(message);
    }
    void serve(LinkId link, Rig::Peer& peer, const Words& words) override {
        if (!served_as_usual(link, peer, words)) { give(link, script(words)); }
    }
    std::string script(const Words& words) {
        const auto bulk = Rig::bulk;
        const std::string offset = std::to_string(log_.size()), id = log_.empty() ? "" : log_.back().id;
        if (is(words, scripts::reg())) { return lease("OK", "0"); }
        if (is(words, scripts::apply())) { return lease("OK", words[6]); }
        if (is(words, scripts::meta())) {
            if (refused_looks_ > 0) {
                --refused_looks_;
                return "-BUSY Redis is busy running a script\r\n";
            }
            std::string out;
            for (std::size_t i = 5; i + 1 < words.size(); i += 2) {
                looks_ += words[i + 1];
                if (words[i + 1] != "l") {
                    for (const char* word : {"", "0", "0"}) { append_field(out, word); }
                }
                if (words[i + 1] != "m") {
                    for (const std::string& word : {std::string("epoch"), offset, id}) { append_field(out, word); }
                }
            }
            return Rig::list({bulk(out)});
        }
        if (is(words, scripts::snap())) { return snapshot(words, "epoch", offset, id); }
        EXPECT_TRUE(is(words, scripts::read())) << words[1];
        ++reads_;
        const std::size_t from = std::stoull(words[5]);   // "12-0"
        std::vector<std::string> entries;
        for (std::size_t i = log_.size(); i >= std::max<std::size_t>(from, 1); --i) {
            for (const std::string& word : {std::to_string(i), log_[i - 1].id, log_[i - 1].before, body(log_[i - 1].id)}) { entries.push_back(bulk(word)); }
        }
        return Rig::list({bulk("epoch"), bulk(offset), bulk(id), bulk("0"), Rig::list(entries)});
    }

    CallId calls_ = 0;
    int runs_ = 0;
};

TEST_F(PartitionLog, AStormJustAfterTheStartIsOneRead) {
    for (const char* id : {"a", "b", "c"}) { publish(id); }
    listen();
    EXPECT_EQ(recover(at(1)), "recovered 2 to 3");
    EXPECT_EQ(recover(at(2)), "recovered 1 to 3");
    publish("d");
    EXPECT_EQ(recover(at(1)), "recovered 3 to 4");
    EXPECT_EQ(recover(at(4)), "recovered 0 to 4");
    EXPECT_EQ(reads_, 1);
}

TEST_F(PartitionLog, AStormJustAfterACutFromAServerThatKeptItsDataIsOneRead) {
    for (const char* id : {"a", "b"}) { publish(id); }
    listen();
    pass(5s);
    cut(false);
    publish("c", false);
    pass(500ms);
    EXPECT_THAT(heard(), testing::Contains("3"));
    const int before = reads_;
    EXPECT_EQ(recover(at(1)), "recovered 2 to 3");
    EXPECT_EQ(recover(at(2)), "recovered 1 to 3");
    EXPECT_EQ(recover(at(3)), "recovered 0 to 3");
    EXPECT_EQ(reads_, before + 1);
}

TEST_F(PartitionLog, WhileCutOffNothingIsAnsweredFromMemory) {
    publish("a");
    listen();
    pass(5s);
    EXPECT_EQ(recover(at(1)), "recovered 0 to 1");
    cut(false);
    EXPECT_EQ(recover(at(1)), "unavailable");
}

TEST_F(PartitionLog, AfterAnotherRunEveryoneReadsUntilItHasSettled) {
    publish("a");
    listen();
    pass(5s);
    cut(true);
    pass(500ms);
    EXPECT_EQ(recover(at(1)), "recovered 0 to 1");
    EXPECT_EQ(recover(at(1)), "recovered 0 to 1");
    EXPECT_EQ(reads_, 2);
    pass(5s);
    EXPECT_EQ(recover(at(1)), "recovered 0 to 1");
    EXPECT_EQ(reads_, 2);
}

// An older snapshot of the same log: a suffix is gone, and its numbers are given again.
TEST_F(PartitionLog, ALogThatWasRolledBackIsToldHoweverFarItHasGrownSince) {
    for (const std::size_t grown : {0U, 1U, 2U, 3U, 5U}) {
        log_.clear();
        for (const char* id : {"a", "b", "c", "d"}) { publish(std::to_string(grown) + id); }
        const Position lost = at(4);
        if (grown == 0) { listen(); } else { pass(10s); }
        heard();
        cut(true);
        log_.resize(2);
        for (std::size_t i = 0; i < grown; ++i) { publish(std::to_string(grown) + "new" + std::to_string(i), false); }
        pass(1s);
        EXPECT_THAT(heard(), ElementsAre("broken " + std::to_string(2 + grown)));
        EXPECT_THAT(recover(lost), testing::AnyOf("fork to " + std::to_string(2 + grown), "gap to " + std::to_string(2 + grown)));
        publish(std::to_string(grown) + "after");
        EXPECT_THAT(heard(), testing::Contains(std::to_string(3 + grown)));
    }
}

// The same, and this node is the one that was behind: it had none of what was lost.
TEST_F(PartitionLog, ALogThatWasRolledBackToWhatWasDeliveredGoesOn) {
    publish("a");
    listen();
    pass(5s);
    publish("b", false);
    cut(true);
    log_.resize(1);
    publish("other b", false);
    publish("c", false);
    heard();
    pass(500ms);
    EXPECT_THAT(heard(), ElementsAre("2", "3"));
}

TEST_F(PartitionLog, ALookThatWasRefusedIsMadeAgain) {
    listen();
    pass(5s);
    looks_.clear();
    refused_looks_ = 2;
    ++counter_;
    ++members_;
    pass(5s);
    EXPECT_EQ(refused_looks_, 0);
    EXPECT_EQ(looks_, "m");
}

TEST_F(PartitionLog, LooksAtWhatMovedAlone) {
    listen();
    pass(5s);
    looks_.clear();
    pass(5s);
    EXPECT_EQ(looks_, "");
    ++counter_;
    ++members_;
    pass(1500ms);
    EXPECT_EQ(looks_, "m");
    ++counter_;                              // A log.
    pass(1500ms);
    EXPECT_EQ(looks_, "ml");
    // A node of the first wire version does not tell them apart.
    for (const char* word : {"old.1", "7", "live", "here", "1/1000/8500/5000/1"}) { others_.push_back(Rig::bulk(word)); }
    ++counter_;
    pass(1500ms);
    EXPECT_EQ(looks_, "mlb");
}

}  // namespace
}  // namespace starling::engine
