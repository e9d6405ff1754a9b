#pragma once
// What a session may do in a channel: the union of what its namespace allows to every user, what
// the connection token's `can` and `channels` grant, and what a channel token adds.
// protocol.md sections 4 and 10, Permissions.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "codec/jwt.h"
#include "domain/settings.h"

namespace starling::domain {

// The compiled grants of one connection token. Most sessions have none, so an empty one is a
// single null pointer.
class Grants {
 public:
    Grants() = default;
    // `can`, and `subscribe` in each of `channels`. Unknown rights grant nothing.
    explicit Grants(const codec::jwt::Claims& claims);

    // The union of every pattern that matches. A '*' at the end of a pattern matches any rest, also
    // with colons; anywhere else, and in the channel's name, it is a letter.
    Rights rights(std::string_view channel) const;
    bool empty() const { return table_ == nullptr; }

 private:
    struct Entry {
        std::string name;              // A prefix entry is kept without its '*'.
        Rights rights = 0;
    };
    struct Table {
        std::vector<Entry> exact;      // Sorted by name, no name twice.
        std::vector<Entry> prefixes;
    };
    std::unique_ptr<const Table> table_;
};

// The rights that a list of names gives, as in `can` of a channel token.
Rights parse_rights(const std::vector<std::string>& names);

// In channels that bear the names of Pusher's guarded kinds (`private-*`, `presence-*`) the
// namespace's `allow` does not count; in `#*` a native client never has any right.
Rights effective(const NamespaceSettings& space, const Grants& grants, Rights channel_token_rights,
                 std::string_view channel);

}  // namespace starling::domain
