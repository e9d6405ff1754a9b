#pragma once
// One process of clients in a cluster run: whole rooms, their connections spread over the nodes. It obeys the
// steps of the board, comes back by itself when it is cut, and judges all that it is told.

#include <cstdint>
#include <memory>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

#include "load/cluster_board.h"
#include "load/cluster_options.h"
#include "load/cluster_view.h"
#include "load/wire.h"

namespace starling::bench {

// Stamps outside of rooms carry these instead of a room.
inline constexpr std::uint32_t kAllRoom = 99'999'999;
inline constexpr std::uint32_t kMissedRoom = 99'999'998;

struct ClusterShare {
    std::uint32_t process = 0;
    std::uint32_t first = 0, count = 0;      // Indexes of its clients: whole rooms.
    std::uint32_t in_flight = 1;
};

class ClusterClients {
 public:
    ClusterClients(const ClusterOptions& options, const ClusterShare& share, ClusterBoard& board);
    void run();                              // Until the board says stop.

 private:
    // What a client needs to come back where it was.
    struct Kept {
        std::string resume, epoch, id;       // Of the last message of its room.
        std::uint64_t offset = 0;
    };
    enum class State : std::uint8_t { away, connecting, upgrading, subscribing, ready };
    struct Client {
        int descriptor = -1;
        State state = State::away;
        std::uint8_t node = 0, tries = 0, waiting = 0;   // `waiting`: subscriptions that are not confirmed.
        View view = 0, typing = 0;
        std::uint16_t missed = 0;            // A bit for each message that was sent while clients were away.
        std::uint32_t sequence = 0, began_ms = 0;
        Whereabouts place;
        std::unique_ptr<std::string> rest;   // The beginning of a frame.
        std::unique_ptr<Kept> kept;
    };
    // A member of a room who leaves and comes back, or types and stops, watched by the nine others.
    struct Probe {
        enum class Stage : std::uint8_t { idle, first, pause, second } stage = Stage::idle;
        std::uint32_t room = 0, member = 0;
        View awaited = 0;
        std::uint64_t said_ns = 0;
    };
    struct Due {
        std::uint32_t at_ms, slot;
        bool operator<(const Due& other) const { return at_ms > other.at_ms; }   // The earliest on top.
    };

    // cluster_clients.cpp: connections and steps
    void obey();
    bool over() const;
    void open_due();
    void open(std::uint32_t slot);
    void sweep();
    void end(std::uint32_t slot, bool by_us, std::uint32_t pause_ms);
    void on_event(std::uint32_t slot, std::uint32_t what);
    void on_bytes(std::uint32_t slot, std::string_view bytes);
    void introduce(std::uint32_t slot);
    std::string subscription(std::uint32_t slot) const;
    void audit();
    void cut_all();
    void say(const Client& client, std::string_view bytes);

    // cluster_frames.cpp: what is heard
    void on_text(std::uint32_t slot, std::string_view text);
    void on_subscribed(std::uint32_t slot, std::string_view text);
    void on_message(Client& client, std::uint32_t slot, std::string_view text, bool live);
    void on_user(std::uint32_t slot, std::uint32_t user, std::string_view kind);
    void note_position(Client& client, std::string_view text);

    // cluster_probes.cpp: joins, typing and messages that are timed
    void begin_probes();
    void drive_probes();
    void next_probe(Probe& probe);
    void advance(Probe& probe);
    void say_second(Probe& probe);
    View others_of(std::uint32_t slot) const;
    void saw(std::uint32_t slot, std::uint32_t user, bool first_kind);
    void publish_due();
    void publish_to_all();

    std::uint32_t room_of(std::uint32_t slot) const { return (share_.first + slot) / kRoomSize; }
    std::uint32_t peer(std::uint32_t slot, unsigned bit) const { return slot / kRoomSize * kRoomSize + bit; }
    bool pending(const Client& client) const { return client.state != State::away && client.state != State::ready; }

    const ClusterOptions& options_;
    const ClusterShare share_;
    ClusterBoard& board_;
    ClusterPart& part_;
    int epoll_;
    std::vector<char> buffer_;
    std::vector<Client> clients_;
    std::priority_queue<Due> due_;
    std::uint32_t pending_ = 0;
    std::uint32_t now_ms_ = 1, swept_ms_ = 0;
    std::uint64_t random_;
    std::uint32_t random();

    std::uint32_t order_ = 0;
    Step step_ = Step::idle;
    std::vector<Probe> probes_;
    std::uint32_t probes_left_ = 0, probes_begun_ = 0;
    std::uint64_t began_ns_ = 0, to_publish_ = 0, said_ = 0;
    std::vector<std::uint32_t> sequences_;   // Of each room's messages.
};

void run_cluster_clients(const ClusterOptions& options, const ClusterShare& share, ClusterBoard& board);
// `{"type":"publish"...}` of the one channel of all.
std::string publish_all_frame(std::string_view data);

}  // namespace starling::bench
