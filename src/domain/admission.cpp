// connections_per_user over the cluster: the user's home here counts what it has and asks the other nodes, so nothing
// is kept between connects and a node that died counts for nothing, because it does not answer.
//
//   home --ConsultMail--> first shard --Tell--> first shards of the others --AskMail--> the user's homes there
//   home <-ElsewhereMail- first shard <--Heard-- first shards of the others <-AnswerMail-
//
// Two nodes may be asking at the same time for two connections that want the last place. The lower connection id
// comes first: it is counted by the other and does not count it, whichever question arrives before which.

#include "domain/state.h"

namespace starling::domain {

// A connection that is resumed makes way: a client on a draining node, or whose old connection broke unnoticed,
// opens the new one first.
bool Shard::State::full(const UserHome& home, const UserHome::Attaching& attaching) const {
    const std::size_t limit = settings->connections_per_user;
    if (limit == 0) { return false; }
    const std::string& replaces = attaching.mail.replaces;
    const auto counts = [&](SessionRef session) { return replaces.empty() || connection_id(session) != replaces; };
    std::size_t count = attaching.elsewhere.size();
    for (const SessionRef& session : home.sessions) { count += counts(session); }
    for (const auto& other : *home.attaching) {
        if (&other == &attaching) { break; }
        count += counts(other.mail.session);
    }
    return count >= limit;
}

void Shard::State::refuse_attaching(UserHome& home, SessionRef session) {
    AttachedMail refused{.session = session.id, .refused = {}, .notifications = {}};
    refused.refused = Error{ErrorCode::limit_exceeded,
                            "user: connections_per_user is " + std::to_string(settings->connections_per_user)};
    mail(session.shard, std::move(refused));
    const ChannelRef ref = home.ref();
    drop_attaching(home, session);
    let_go(ref);
}

// While the engine is out of reach nobody would answer, and nobody is kept out for it.
void Shard::State::ask_elsewhere(const UserHome& home, UserHome::Attaching& attaching) {
    if (settings->connections_per_user == 0 || unreachable[home.partition]) { return; }
    attaching.asking = true;
    const AttachMail& attach = attaching.mail;
    mail(0, ConsultMail{.token = 0, .from = self.index, .session = attach.session, .app = attach.app,
                        .ask = control::Connections{attach.user_id, connection_id(attach.session)}});
}

void Shard::State::on(ElsewhereMail& elsewhere) {
    UserHome* home = find_user(user_ref(elsewhere.app, elsewhere.user_id));
    if (home == nullptr || !home->attaching) { return; }
    const auto it = std::find_if(home->attaching->begin(), home->attaching->end(), [&](const UserHome::Attaching& attaching) {
        return attaching.mail.session == elsewhere.session;
    });
    if (it == home->attaching->end() || !it->asking) { return; }
    it->asking = false;
    for (auto& id : elsewhere.connections) {
        if (id != it->mail.replaces && std::find(it->elsewhere.begin(), it->elsewhere.end(), id) == it->elsewhere.end()) {
            it->elsewhere.push_back(std::move(id));
        }
    }
    if (full(*home, *it)) {
        refuse_attaching(*home, elsewhere.session);
    } else if (home->hearing == Hearing::ready) {
        read_for(*home, *it);
    }
}

// More than the limit and one need not be told: one at most is being replaced.
std::vector<backend::ConnectionInfo> Shard::State::connections_before(std::uint32_t app, const control::Connections& asked) {
    std::vector<backend::ConnectionInfo> found;
    UserHome* home = find_user(user_ref(app, asked.user_id));
    if (home == nullptr) { return found; }
    const auto add = [&](SessionRef session) {
        if (found.size() <= settings->connections_per_user) { found.push_back({connection_id(session), self.node_id, 0, {}}); }
    };
    for (const SessionRef& session : home->sessions) { add(session); }
    if (!home->attaching) { return found; }
    for (auto& attaching : *home->attaching) {
        if (!attaching.asking || connection_id(attaching.mail.session) < asked.connection_id) {
            add(attaching.mail.session);
        } else if (asked.connection_id != attaching.mail.replaces && attaching.elsewhere.size() <= settings->connections_per_user) {
            attaching.elsewhere.push_back(asked.connection_id);
        }
    }
    return found;
}

}  // namespace starling::domain
