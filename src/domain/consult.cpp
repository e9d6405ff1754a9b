// Questions about the whole cluster. The first shard of a node asks the others and answers them; what has not come
// within a heartbeat is left out, and the answer says so.
//
//   shard --ConsultMail--> first shard --Tell--> first shards of the others --AskMail--> their shards
//   shard <--AnswerMail--- first shard <--Heard-- first shards of the others <-AnswerMail-

#include "domain/state.h"

namespace starling::domain {

namespace {

// Tokens of what other nodes ask; the server's own count from 1.
constexpr std::uint64_t kRelayed = std::uint64_t{1} << 63;

const std::string* connection_of(const control::Ask& ask) {
    if (const auto* direct = std::get_if<backend::SendDirect>(&ask)) { return &direct->connection_id; }
    if (const auto* resume = std::get_if<control::ResumeFrom>(&ask)) { return &resume->connection_id; }
    return nullptr;
}

backend::Reply direct_reply(bool found, bool late) {
    if (found) { return {202, ""}; }
    if (late) { return backend::error_reply({ErrorCode::timeout, "connectionId: its node did not answer in time"}); }
    return backend::error_reply({ErrorCode::not_found, "connectionId: no such connection"});
}

}  // namespace

// One more answer to wait for.
void Shard::State::consult(std::uint64_t token, std::uint32_t app, control::Ask ask) {
    ++gathering[token].missing;
    mail(0, ConsultMail{.token = token, .from = self.index, .session = {}, .app = app, .ask = std::move(ask)});
}

void Shard::State::on(Peers& event) {
    peers = std::move(event.nodes);
    std::erase_if(peers, [&](const Peers::Peer& peer) { return peer.node_id == self.node_id; });
    std::erase_if(silent, [&](const auto& entry) {
        return std::none_of(peers.begin(), peers.end(), [&](const auto& peer) { return peer.node_id == entry.first; });
    });
    // Who is gone answers no more.
    std::vector<std::uint64_t> concluded;
    for (auto& [id, consultation] : consultations) {
        std::erase_if(consultation.waiting, [&](const auto& waiting) {
            return std::none_of(peers.begin(), peers.end(), [&](const auto& peer) { return peer.node_id == waiting.first; });
        });
        if (consultation.waiting.empty()) { concluded.push_back(id); }
    }
    for (const std::uint64_t id : concluded) { conclude(id); }
}

void Shard::State::on(ConsultMail& asked) {
    const std::uint64_t id = ++questions;
    Consultation& consultation = consultations[id];
    std::string only;
    for (const auto& peer : peers) {
        const std::string* connection = connection_of(asked.ask);
        if (connection != nullptr) {
            // "<node id>-..."
            if (!connection->starts_with(peer.node_id) || connection->find('-') != peer.node_id.size()) { continue; }
            only = peer.node_id;
        }
        consultation.waiting.emplace(peer.node_id, peer);
    }
    // When a node dies its clients come back together: only the first wait to learn that it does not answer.
    const auto quiet = silent.find(only);
    if (quiet != silent.end() && quiet->second > now.instant && std::holds_alternative<control::ResumeFrom>(asked.ask)) {
        consultation.waiting.clear();
    }
    consultation.asked = std::move(asked);
    if (consultation.waiting.empty()) {
        conclude(id);
        return;
    }
    const ConsultMail& question = consultation.asked;
    tell_engine(Tell{only, control::encode(control::Question{id, settings->apps[question.app].id, question.ask})});
    deadlines.push({now.instant + settings->heartbeat, Due::Kind::consultation,
                    {static_cast<std::uint32_t>(id >> 32), static_cast<std::uint32_t>(id)}});
}

void Shard::State::conclude(std::uint64_t id) {
    const auto it = consultations.find(id);
    if (it == consultations.end()) { return; }
    Consultation done = std::move(it->second);
    consultations.erase(it);
    const ConsultMail& asked = done.asked;
    const bool late = !done.waiting.empty();
    if (std::holds_alternative<control::ResumeFrom>(asked.ask)) {
        for (const auto& [node, peer] : done.waiting) { silent[node] = now.instant + 2 * settings->heartbeat; }
        mail(asked.session.shard, ResumeAnswerMail{.session = asked.session.id, .resumed = done.found, .grants = std::move(done.grants)});
        return;
    }
    AnswerMail& answer = done.answer;
    if (const auto* one = std::get_if<control::Connections>(&asked.ask)) {
        ElsewhereMail elsewhere{.session = asked.session, .app = asked.app, .user_id = one->user_id, .connections = {}};
        for (auto& connection : answer.connections) { elsewhere.connections.push_back(std::move(connection.connection_id)); }
        mail(asked.from, std::move(elsewhere));
        return;
    }
    answer.token = asked.token;
    answer.from_nodes = true;
    answer.partial = late;
    if (std::holds_alternative<backend::SendDirect>(asked.ask)) { answer.reply = direct_reply(done.found, late); }
    if (std::holds_alternative<backend::GetNodes>(asked.ask)) {
        for (const auto& [node, peer] : done.waiting) {
            answer.nodes.push_back({.node_id = node, .address = peer.address, .draining = peer.draining, .partial = true});
        }
    }
    mail(asked.from, std::move(answer));
}

void Shard::State::on(Heard& event) {
    silent.erase(event.node);
    auto decoded = control::decode(event.payload);
    if (!decoded) { return; }
    if (auto* question = std::get_if<control::Question>(&*decoded)) {
        pass_on(event.node, *question);
    } else {
        take_answer(event.node, std::get<control::Answer>(*decoded));
    }
}

// Another node asks: all shards answer, or the one that has the connection.
void Shard::State::pass_on(const std::string& node, control::Question& question) {
    const Gathering::Relay relay{node, question.id};
    const auto app = settings->find_app(question.app);
    const std::string* connection = connection_of(question.ask);
    const auto session = connection != nullptr ? parse_connection_id(*connection) : std::nullopt;
    if (!app || (connection != nullptr && !session)) {
        answer_node(relay, {});
        return;
    }
    const std::uint64_t token = kRelayed | ++questions;
    if (const auto* resume = std::get_if<control::ResumeFrom>(&question.ask)) {
        resume_relays[token] = relay;
        mail(session->shard, ResumeAskMail{SessionRef{self.index, {}}, token, session->id,
                                           static_cast<std::uint32_t>(*app), resume->user_id});
        return;
    }
    Gathering& gathered = gathering[token];
    gathered.relay = relay;
    AskMail ask{.token = token, .from = self.index, .app = static_cast<std::uint32_t>(*app)};
    std::visit(
        [&](auto& body) {
            if constexpr (requires { ask.request = std::move(body); }) {
                ask.request = std::move(body);
            } else if constexpr (requires { body.users; }) {
                ask.devices_of = std::move(body.users);
            } else if constexpr (std::is_same_v<std::decay_t<decltype(body)>, control::Connections>) {
                ask.connections_of = std::move(body);
            }
        },
        question.ask);
    gathered.request = ask.request;
    if (ask.connections_of) {
        gathered.missing = 1;
        const std::uint32_t home = home_of_user(ask.app, ask.connections_of->user_id);
        mail(home, std::move(ask));
        return;
    }
    for (std::uint32_t shard = 0; shard < self.count; ++shard) {
        if (session && session->shard != shard) { continue; }
        ++gathered.missing;
        mail(shard, AskMail(ask));
    }
}

void Shard::State::finish_relay(Gathering& gathered) {
    control::Answer answer;
    answer.count = gathered.count;
    answer.devices = std::move(gathered.devices);
    answer.connections = std::move(gathered.connections);
    if (std::holds_alternative<backend::GetNodes>(gathered.request)) {
        answer.nodes.push_back(node_info(gathered));
        answer.count = 0;
    } else {
        // A node's shards add up here; the node that asked takes the most of what is present.
        std::map<std::string, backend::ChannelInfo> rows;
        for (auto& part : gathered.channels) {
            auto& row = rows[part.channel];
            row.channel = part.channel;
            row.subscribers += part.subscribers;
            row.present += part.present;
        }
        const auto* list = std::get_if<backend::ListChannels>(&gathered.request);
        for (auto& [name, row] : rows) {
            if (list == nullptr || answer.channels.size() > list->limit) { break; }
            answer.channels.push_back(std::move(row));
        }
    }
    answer_node(*gathered.relay, std::move(answer));
}

void Shard::State::answer_node(const Gathering::Relay& relay, control::Answer answer) {
    answer.id = relay.question;
    tell_engine(Tell{relay.node, control::encode(std::move(answer))});
}

void Shard::State::take_answer(const std::string& node, control::Answer& answer) {
    const auto it = consultations.find(answer.id);
    if (it == consultations.end() || it->second.waiting.erase(node) == 0) { return; }
    Consultation& gathered = it->second;
    AnswerMail& sum = gathered.answer;
    gathered.found = gathered.found || answer.found;
    std::move(answer.grants.begin(), answer.grants.end(), std::back_inserter(gathered.grants));
    std::move(answer.channels.begin(), answer.channels.end(), std::back_inserter(sum.channels));
    std::move(answer.connections.begin(), answer.connections.end(), std::back_inserter(sum.connections));
    std::move(answer.nodes.begin(), answer.nodes.end(), std::back_inserter(sum.nodes));
    if (sum.devices.size() < answer.devices.size()) { sum.devices.resize(answer.devices.size()); }
    for (std::size_t i = 0; i < answer.devices.size(); ++i) { sum.devices[i] += answer.devices[i]; }
    sum.count += answer.count;
    if (gathered.waiting.empty()) { conclude(answer.id); }
}

}  // namespace starling::domain
