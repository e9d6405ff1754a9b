#include "domain/typing.h"

#include <algorithm>

namespace starling::domain {

bool Typing::on_start(std::string_view user, std::optional<SessionRef> by, Duration timeout, Instant now,
                      std::vector<TypingChange>& out) {
    const auto [it, fresh] = entries_.try_emplace(std::string(user));
    Entry& entry = it->second;
    entry.ends = now + timeout;
    entry.by = by;
    if (fresh) { out.push_back({it->first, true}); }
    if (!fresh && entry.passed_on != Instant{} && now < entry.passed_on + kPassOnEvery) { return false; }
    entry.passed_on = now;
    return true;
}

void Typing::on_heard(std::string_view user, Duration timeout, Instant now, std::vector<TypingChange>& out) {
    const auto [it, fresh] = entries_.try_emplace(std::string(user));
    it->second = {now + timeout, {}, {}};
    if (fresh) { out.push_back({it->first, true}); }
}

void Typing::on_stop(std::string_view user, std::vector<TypingChange>& out) {
    const auto it = entries_.find(user);
    if (it == entries_.end()) { return; }
    out.push_back({it->first, false});
    entries_.erase(it);
}

void Typing::on_gone(std::string_view user, SessionRef by, std::vector<TypingChange>& out) {
    const auto it = entries_.find(user);
    if (it != entries_.end() && it->second.by == by) { on_stop(user, out); }
}

std::vector<std::string> Typing::users_except(std::string_view user) const {
    std::vector<std::string> out;
    for (const auto& [name, entry] : entries_) {
        if (name != user) { out.push_back(name); }
    }
    return out;
}

std::optional<Instant> Typing::next_deadline() const {
    std::optional<Instant> first;
    for (const auto& [name, entry] : entries_) {
        if (!first || entry.ends < *first) { first = entry.ends; }
    }
    return first;
}

void Typing::on_deadline(Instant now, std::vector<TypingChange>& out) {
    for (auto it = entries_.begin(); it != entries_.end();) {
        if (it->second.ends > now) {
            ++it;
            continue;
        }
        out.push_back({it->first, false});
        it = entries_.erase(it);
    }
}

}  // namespace starling::domain
