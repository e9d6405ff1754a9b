#pragma once
// Who is typing in one channel, on any node. A user who stops refreshing is dropped after the timeout, so a
// lost "stop" heals itself.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/apart.h"
#include "base/time.h"
#include "domain/session_ref.h"

namespace starling::domain {

struct TypingChange {
    std::string user_id;
    bool active = false;
    bool operator==(const TypingChange&) const = default;
};

class Typing {
 public:
    static constexpr Duration kPassOnEvery = 3s;
    // `by` is the connection that types; absent for the backend. True: the other nodes are to hear of it.
    bool on_start(std::string_view user, std::optional<SessionRef> by, Duration timeout, Instant now,
                  std::vector<TypingChange>& out);
    // Another node says so.
    void on_heard(std::string_view user, Duration timeout, Instant now, std::vector<TypingChange>& out);
    void on_stop(std::string_view user, std::vector<TypingChange>& out);
    // The connection left the channel or broke: what it typed last ends.
    void on_gone(std::string_view user, SessionRef by, std::vector<TypingChange>& out);
    std::vector<std::string> users_except(std::string_view user) const;
    bool empty() const { return !entries_; }

    std::optional<Instant> next_deadline() const;
    void on_deadline(Instant now, std::vector<TypingChange>& out);

 private:
    struct Entry {
        Instant ends;
        std::optional<SessionRef> by;
        Instant passed_on{};
    };
    using Entries = std::map<std::string, Entry, std::less<>>;
    void trim() {
        if (entries_ && entries_->empty()) { entries_.reset(); }
    }

    Apart<Entries> entries_;                 // None: nobody types, as nearly always.
};

}  // namespace starling::domain
