#pragma once
// Which sessions of this node hold a user present in one channel. The engine hears of users only: of the
// first session here, and of the last.

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/apart.h"
#include "base/few.h"
#include "base/short_text.h"
#include "base/sorted.h"
#include "domain/session_ref.h"

namespace starling::domain {

class PresenceHolders {
 public:
    // True: it is the user's first one here.
    bool add(std::string_view user, SessionRef session);
    // True: it was the user's last one here.
    bool remove(std::string_view user, SessionRef session);
    // The engine confirmed the user; it holds until the last session is gone.
    void on_entered(std::string_view user);
    bool entered(std::string_view user) const;
    bool holds(std::string_view user) const { return users_.contains(user); }
    bool empty() const { return users_.empty(); }
    std::vector<SessionRef> sessions_of(std::string_view user) const;
    std::vector<std::pair<std::string, SessionRef>> all() const;

 private:
    struct User {
        ShortText id;
        Few<SessionRef> sessions;
        std::string_view key() const { return id.view(); }
    };
    static_assert(sizeof(User) == 32);
    Sorted<User> users_;
    Apart<std::set<std::string, std::less<>>> entering_;   // Of them: not confirmed yet.
};

}  // namespace starling::domain
