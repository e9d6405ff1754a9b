#include "domain/presence_holders.h"

#include <algorithm>

namespace starling::domain {

bool PresenceHolders::add(std::string_view user, SessionRef session) {
    User fresh;
    fresh.id = ShortText(user);
    const auto [held, first] = users_.add(std::move(fresh));
    held->sessions.push_back(session);
    if (first) { entering_.need().emplace(user); }
    return first;
}

bool PresenceHolders::remove(std::string_view user, SessionRef session) {
    User* held = users_.find(user);
    if (held == nullptr) { return false; }
    SessionRef* found = std::find(held->sessions.begin(), held->sessions.end(), session);
    if (found == held->sessions.end()) { return false; }
    held->sessions.erase(found);
    if (!held->sessions.empty()) { return false; }
    users_.erase(user);
    on_entered(user);
    return true;
}

void PresenceHolders::on_entered(std::string_view user) {
    if (!entering_) { return; }
    const auto it = entering_->find(user);
    if (it == entering_->end()) { return; }
    entering_->erase(it);
    if (entering_->empty()) { entering_.reset(); }
}

bool PresenceHolders::entered(std::string_view user) const {
    return users_.contains(user) && !entering_.peek().contains(user);
}

std::vector<SessionRef> PresenceHolders::sessions_of(std::string_view user) const {
    const User* held = users_.find(user);
    return held == nullptr ? std::vector<SessionRef>{} : std::vector<SessionRef>(held->sessions.begin(), held->sessions.end());
}

std::vector<std::pair<std::string, SessionRef>> PresenceHolders::all() const {
    std::vector<std::pair<std::string, SessionRef>> out;
    for (const User& user : users_) {
        for (const SessionRef session : user.sessions) { out.emplace_back(user.id.view(), session); }
    }
    return out;
}

}  // namespace starling::domain
