#include "describe.h"

namespace starling::sim {

namespace {

std::string place(const std::optional<Position>& top) {
    return top ? top->epoch + "/" + std::to_string(top->offset) + "/" + top->id : "none";
}

}  // namespace

std::string describe(const domain::EngineCall& call) {
    static constexpr const char* kNames[] = {"Listen", "Unlisten", "Publish", "Read", "Erase", "Acknowledge", "Enter", "Exit",
                                             "Update", "SignalTyping", "Tell", "Proven", "Retire"};
    std::string out = kNames[call.index()];
    std::visit([&](const auto& body) {
        if constexpr (requires { body.channel; }) { out += " " + body.channel.name; }
        if constexpr (requires { body.user_id; }) { out += " " + body.user_id; }
        if constexpr (requires { body.how; }) { out += body.how == domain::Departure::clean ? " clean" : " broken"; }
        if constexpr (requires { body.recover; }) { out += body.recover ? " recover since " + place(body.since) : " page"; }
    }, call);
    return out;
}

std::string describe(const domain::EngineEvent& event) {
    static constexpr const char* kNames[] = {"Listening", "Delivered", "Broken", "Published", "ReadAnswer", "Erased", "Acknowledged",
                                             "AcknowledgedElsewhere", "MembersChanged", "Entered", "TypingHeard", "Heard", "Reach",
                                             "Doubt", "Peers", "Ingress"};
    std::string out = kNames[event.index()];
    std::visit([&](const auto& body) {
        if constexpr (requires { body.channel; }) { out += " " + body.channel.name; }
        if constexpr (requires { body.user_id; }) { out += " " + body.user_id; }
        if constexpr (requires { body.top; }) { out += " top " + place(body.top); }
        if constexpr (requires { body.stale; }) { out += body.stale ? " stale" : ""; }
        if constexpr (requires { body.message.offset; }) { out += " " + std::to_string(body.message.offset) + " " + body.message.id; }
        if constexpr (requires { body.reachable; }) { out += " " + std::to_string(body.partition) + (body.reachable ? " reachable" : " out of reach"); }
        if constexpr (requires { body.leaves; }) {
            for (const auto& member : body.joins) { out += " +" + member.user_id; }
            for (const auto& member : body.updates) { out += " ~" + member.user_id; }
            for (const auto& user : body.leaves) { out += " -" + user; }
        }
    }, event);
    return out;
}

}  // namespace starling::sim
