#pragma once
// The engine of a node that is alone: every log, key and member in the memory of the shard, every call
// answered within it. What nothing needs any more is forgotten; a log that has counted goes on counting for a
// day after its last message has expired, and is then begun anew under another epoch.

#include <deque>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/slot_index.h"
#include "base/slots.h"
#include "base/random.h"
#include "domain/history.h"
#include "engine/engine.h"

namespace starling::engine {

class Memory : public Engine {
 public:
    // How long a forgotten log's position is remembered.
    static constexpr Duration kRememberPositions = 24h;

    Memory(Duration linger, std::uint64_t seed);
    ~Memory() override;

    void start(Now, Output&) override {}
    void on_call(domain::EngineCall& call, Now now, Output& out) override;
    std::optional<Instant> next_deadline() const override;
    void on_deadline(Now now, Output& out) override;
    bool idle() const override { return members_ == 0; }
    void on_linger(Duration linger) override { linger_ = linger; }
    LeaveCounts leaves() const override { return leaves_; }

    // For metrics and tests: channels in memory, and positions of forgotten ones.
    std::size_t channels() const { return index_.size(); }
    std::size_t remembered() const { return records_.size(); }

 private:
    struct Channel;
    struct Held;
    struct KeyedResults;
    struct Record {
        Position top;
        std::uint64_t acknowledged = 0;
        Instant until{};
    };
    struct Due {
        Instant at;
        std::uint32_t slot;
        bool operator>(const Due& other) const { return at > other.at; }
    };

    void on(domain::Listen& call);
    void on(domain::Unlisten& call);
    void on(domain::Publish& call);
    void on(domain::Read& call);
    void on(domain::Erase& call);
    void on(domain::Acknowledge& call);
    void on(domain::Enter& call);
    void on(domain::Exit& call);
    void on(domain::Update& call);
    void on(domain::SignalTyping&) {}        // There is no other node to tell.
    void on(domain::Tell&) {}
    void on(domain::Proven&) {}
    void on(domain::Retire&) {}

    Channel& channel(const domain::ChannelRef& ref);
    // Null: the channel keeps no history, or nothing was kept yet and its log begins at `top_of`.
    domain::History* log_of(Channel& channel, const domain::HistoryLimits& limits);
    Position top_of(const Channel& channel) const;
    static Held* held_of(Channel& channel, const std::string& user);   // Null: who is not there.
    void remove(Channel& channel, const std::string& user);
    void settle(Channel& channel);           // Schedules what is due, or forgets the channel.
    void forget(Channel& channel);

    Duration linger_;
    Rng rng_;
    std::string epoch_;                      // Of logs that begin; drawn anew when one is given up.
    Now now_;
    Output* out_ = nullptr;
    Slots<Channel> slots_;                   // One without a name is free.
    SlotIndex index_;
    SharedBytes first_epoch_;                // Like epoch_: most channels are in it, and share it.
    std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
    StringMap<Record> records_;
    std::deque<std::pair<Instant, std::string>> records_due_;
    std::uint64_t members_ = 0;              // Over all channels, those who linger included.
    LeaveCounts leaves_;
};

}  // namespace starling::engine
