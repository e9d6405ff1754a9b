#pragma once
// At most one message for each key and window: the first goes at once, the latest of a window at its
// end. The latest for each key is kept for newcomers, who get all of them in one answer: at most kKeysMax, and no
// more bytes than another recovery may have.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/apart.h"
#include "base/time.h"
#include "codec/message.h"
#include "domain/session_ref.h"

namespace starling::domain {

class Conflation {
 public:
    static constexpr std::size_t kKeysMax = 1000;
    struct Item {
        Message message;
        std::optional<SessionRef> except;    // The publisher that asked for no echo.
    };

    // The keys that were written longest ago go when there are too many, or more than `bytes_max` in all; the one
    // just written stays.
    void on_publish(Item item, Duration window, std::size_t bytes_max, Instant now, std::vector<Item>& out);
    std::vector<Message> latest() const;     // In the order in which the keys were last written.
    bool empty() const { return !kept_; }
    Instant last_publish() const { return kept_.peek().last; }
    std::optional<Instant> next_deadline() const;
    void on_deadline(Duration window, Instant now, std::vector<Item>& out);

 private:
    struct Entry {
        Item latest;
        std::uint64_t written = 0;
        Instant window_ends{};
        bool pending = false;                // `latest` has not been sent.
    };
    struct Kept {
        std::map<std::string, Entry, std::less<>> entries;
        std::map<std::uint64_t, std::string> order;   // written -> key
        std::uint64_t writes = 0;
        std::size_t bytes = 0;               // Of what a newcomer gets.
        Instant last{};

        void forget_oldest(std::vector<Item>& out);
    };
    Apart<Kept> kept_;                       // None: nothing was published.
};

}  // namespace starling::domain
