#include "domain/presence_holders.h"

#include <algorithm>

namespace starling::domain {

bool PresenceHolders::add(std::string_view user, SessionRef session) {
    auto it = users_.find(user);
    const bool first = it == users_.end();
    if (first) { it = users_.emplace(std::string(user), User{}).first; }
    it->second.sessions.push_back(session);
    return first;
}

bool PresenceHolders::remove(std::string_view user, SessionRef session) {
    const auto it = users_.find(user);
    if (it == users_.end()) { return false; }
    auto& sessions = it->second.sessions;
    const auto found = std::find(sessions.begin(), sessions.end(), session);
    if (found == sessions.end()) { return false; }
    sessions.erase(found);
    if (!sessions.empty()) { return false; }
    users_.erase(it);
    return true;
}

void PresenceHolders::on_entered(std::string_view user) {
    if (const auto it = users_.find(user); it != users_.end()) { it->second.entered = true; }
}

bool PresenceHolders::entered(std::string_view user) const {
    const auto it = users_.find(user);
    return it != users_.end() && it->second.entered;
}

std::vector<SessionRef> PresenceHolders::sessions_of(std::string_view user) const {
    const auto it = users_.find(user);
    return it == users_.end() ? std::vector<SessionRef>{} : it->second.sessions;
}

std::vector<std::pair<std::string, SessionRef>> PresenceHolders::all() const {
    std::vector<std::pair<std::string, SessionRef>> out;
    for (const auto& [user, held] : users_) {
        for (const SessionRef session : held.sessions) { out.emplace_back(user, session); }
    }
    return out;
}

}  // namespace starling::domain
