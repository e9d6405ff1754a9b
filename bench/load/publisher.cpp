#include "load/publisher.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "load/wire.h"

namespace starling::bench {

using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kPatienceNs = 10'000'000'000;

class Publisher {
 public:
    Publisher(const Options& options, const Dialect& dialect, Board& board)
        : options_(options), dialect_(dialect), board_(board), padding_(options.padding, 'x'), sequences_(options.rooms) {}

    bool connect(std::uint16_t port) {
        for (std::uint32_t i = 0; i < options_.publishers; ++i) {
            const int descriptor = open_socket(port, i);
            if (descriptor < 0) { return false; }
            pollfd waiting{descriptor, POLLOUT, 0};
            ::poll(&waiting, 1, 5000);
            ::fcntl(descriptor, F_SETFL, 0);
            std::string heard;
            for (const Dialect::Step& step : dialect_.publisher_steps(1'000'000 + i)) {
                say(descriptor, step.say);
                if (!hears(descriptor, step.wait_for, heard)) { return false; }
            }
            sockets_.push_back(descriptor);
        }
        return true;
    }

    void run() {
        const std::uint64_t begin = monotonic_ns();
        std::uint64_t expected = 0;
        for (std::uint32_t round = 0; round < options_.messages; ++round) {
            if (options_.rate > 0) {
                const auto due = begin + static_cast<std::uint64_t>(round * 1e9 / options_.rate);
                const std::uint64_t now = monotonic_ns();
                if (due > now) { std::this_thread::sleep_for(std::chrono::nanoseconds(due - now)); }
            }
            for (std::uint32_t i = 0; i < sockets_.size(); ++i) { expected += publish(i, round); }
            drop_pings();
            if (options_.rate == 0) { wait_for(expected); }
        }
        wait_for(expected);
    }

 private:
    static void say(int descriptor, std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) { return; }
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
    }

    // `heard` keeps what came after the word.
    static bool hears(int descriptor, std::string_view word, std::string& heard) {
        char bytes[4096];
        while (heard.find(word) == std::string::npos) {
            pollfd waiting{descriptor, POLLIN, 0};
            if (::poll(&waiting, 1, 5000) <= 0) { return false; }
            const ssize_t count = ::recv(descriptor, bytes, sizeof bytes, 0);
            if (count <= 0) { return false; }
            heard.append(bytes, static_cast<std::size_t>(count));
        }
        heard.erase(0, heard.find(word) + word.size());
        return true;
    }

    // Publisher i has the rooms i, i + publishers, ...; in each round the next of them.
    std::uint64_t publish(std::uint32_t i, std::uint32_t round) {
        const std::uint32_t mine = (options_.rooms - i + options_.publishers - 1) / options_.publishers;
        const std::uint32_t room = i + (round % mine) * options_.publishers;
        std::string out;
        for (std::uint32_t k = 0; k < options_.burst; ++k) {
            const std::string data = stamp_json({room, ++sequences_[room], monotonic_ns()}, padding_);
            out += dialect_.publish(room, data);
        }
        say(sockets_[i], out);
        board_.published += options_.burst;
        const std::uint64_t members = (options_.connections - room + options_.rooms - 1) / options_.rooms;
        return members * options_.burst;
    }

    // Any frame counts as life, so the pings need no answer of their own while messages go out.
    void drop_pings() {
        char bytes[4096];
        for (const int descriptor : sockets_) {
            while (::recv(descriptor, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {}
        }
    }

    void wait_for(std::uint64_t expected) {
        const std::uint64_t until = monotonic_ns() + kPatienceNs;
        while (board_.sum(&ClientPart::received) + board_.sum(&ClientPart::lost) < expected) {
            if (monotonic_ns() > until) {
                ++board_.late_rounds;
                return;
            }
            std::this_thread::sleep_for(100us);
        }
    }

    const Options& options_;
    const Dialect& dialect_;
    Board& board_;
    std::string padding_;
    std::vector<std::uint64_t> sequences_;
    std::vector<int> sockets_;
};

}  // namespace

void run_publisher(const Options& options, std::uint16_t port, const Dialect& dialect, Board& board) {
    Publisher publisher(options, dialect, board);
    const bool connected = publisher.connect(port);
    board.publisher_ready = connected;
    board.publisher_done = !connected;
    while (board.phase == Phase::connect) { std::this_thread::sleep_for(1ms); }
    if (connected && board.phase == Phase::run) { publisher.run(); }
    board.publisher_done = true;
}

}  // namespace starling::bench
