// Whether those whom this node holds present are really there: after the node was given up by the others, or saw
// nothing for long, each session that is present in the partition has to show a sign of life.

#include "domain/state.h"

namespace starling::domain {

namespace {

constexpr Duration kProofTime = 2s;

}  // namespace

// At the partition's home: all shards are asked, and a later doubt replaces an earlier one.
void Shard::State::on(Doubt& event) {
    doubts[event.partition] = {++rounds, self.count};
    for (std::uint32_t shard = 0; shard < self.count; ++shard) {
        mail(shard, ProveMail{event.partition, self.index, rounds});
    }
}

void Shard::State::on(ProveMail& prove) {
    Proof proof{.partition = prove.partition, .home = prove.home, .round = prove.round, .until = now.instant + kProofTime};
    for (const auto& session : sessions) {
        if (!session.used) { continue; }
        const bool present = std::any_of(
            session.subscriptions.begin(), session.subscriptions.end(), [&](const Subscription& subscription) {
                return subscription.present && hub[subscription.hub].partition == prove.partition;
            });
        if (!present) { continue; }
        const SessionId id = id_of(session);
        const bool asked = std::any_of(proofs.begin(), proofs.end(), [&](const Proof& other) { return other.waiting.contains(id); });
        if (!asked) { out->push_back(Probe{id}); }
        proof.waiting.insert(id);
    }
    if (proof.waiting.empty()) {
        mail(proof.home, ProvenMail{proof.partition, proof.round});
        return;
    }
    deadlines.push({proof.until, Due::Kind::proof, {}});
    proofs.push_back(std::move(proof));
}

// The session lives, or has ended and is known to have.
void Shard::State::settle_proofs(SessionId id) {
    for (Proof& proof : proofs) {
        if (proof.waiting.erase(id) > 0 && proof.waiting.empty()) { mail(proof.home, ProvenMail{proof.partition, proof.round}); }
    }
    std::erase_if(proofs, [](const Proof& proof) { return proof.waiting.empty(); });
}

void Shard::State::on_proof_deadline() {
    while (!proofs.empty()) {
        const auto due = std::find_if(proofs.begin(), proofs.end(), [&](const Proof& proof) { return proof.until <= now.instant; });
        if (due == proofs.end()) { return; }
        // Closing takes it out of every proof; the last one reports, behind the leaves that closing told.
        Session* session = find(*due->waiting.begin());
        CHECK(session != nullptr);
        close(*session, close_code::no_pong, "no sign of life");
    }
}

void Shard::State::on(ProvenMail& proven) {
    const auto it = doubts.find(proven.partition);
    if (it == doubts.end() || it->second.round != proven.round || --it->second.missing > 0) { return; }
    doubts.erase(it);
    tell_engine(Proven{proven.partition});
}

void Shard::on_alive(SessionId session, Now now, Effects& out) {
    State& s = *state_;
    s.now = now;
    s.out = &out;
    s.settle_proofs(session);
}

}  // namespace starling::domain
