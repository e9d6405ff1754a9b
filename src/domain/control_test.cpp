#include "domain/control.h"

#include <gtest/gtest.h>

namespace starling::domain::control {
namespace {

Question question(Ask ask) { return {7, "default", std::move(ask)}; }

std::vector<Ask> every_ask() {
    return {backend::GetUser{"ada"},
            backend::ListChannels{"doc:", 5, "ab"},
            backend::DisconnectUser{"ada", 4100, "bye"},
            backend::SubscribeUser{"ada", "doc:1", true, "{\"a\":1}"},
            backend::UnsubscribeUser{"ada", "doc:1"},
            backend::SendDirect{"node-0-1-1", "[1,2]"},
            backend::GetNodes{},
            CountDevices{{"ada", "bob"}},
            ResumeFrom{"node-0-1-1", "ada"},
            Connections{"ada", "node-0-1-1"}};
}

Answer answer() {
    Answer out{.id = 9, .found = true, .count = 3, .devices = {1, 0}};
    out.channels.push_back({"doc:1", 4, 2});
    out.connections.push_back({"node-0-1-1", "node", 1000, {"doc:1", "doc:2"}});
    out.nodes.push_back({.node_id = "node", .address = "a:1", .version = "1", .uptime_ms = -5, .connections = 2, .draining = true});
    out.grants.push_back({"doc:1", 3, 77});
    return out;
}

TEST(Control, EveryQuestionComesBackAsItWas) {
    for (const Ask& ask : every_ask()) {
        const std::string bytes = encode(question(ask));
        const auto decoded = decode(bytes);
        ASSERT_TRUE(decoded) << ask.index();
        const auto& back = std::get<Question>(*decoded);
        EXPECT_EQ(back.id, 7U);
        EXPECT_EQ(back.app, "default");
        EXPECT_EQ(encode(back), bytes);
    }
}

TEST(Control, AnAnswerComesBackAsItWas) {
    const auto decoded = decode(encode(answer()));
    ASSERT_TRUE(decoded);
    const auto& back = std::get<Answer>(*decoded);
    EXPECT_TRUE(back.found);
    EXPECT_EQ(back.devices, (std::vector<std::uint64_t>{1, 0}));
    EXPECT_EQ(back.connections.at(0).channels.at(1), "doc:2");
    EXPECT_EQ(back.nodes.at(0).uptime_ms, -5);
    EXPECT_EQ(back.grants, answer().grants);
}

TEST(Control, WhatIsCutOrLongerIsRefused) {
    std::vector<std::string> all{encode(answer())};
    for (const Ask& ask : every_ask()) { all.push_back(encode(question(ask))); }
    for (const std::string& bytes : all) {
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            EXPECT_FALSE(decode(std::string_view(bytes).substr(0, size)));
        }
        EXPECT_FALSE(decode(bytes + "x"));
    }
}

TEST(Control, ACountThatPromisesTooMuchIsRefused) {
    std::string bytes = encode(question(CountDevices{{}}));
    bytes.replace(bytes.size() - 4, 4, "\xff\xff\xff\xff");
    EXPECT_FALSE(decode(bytes));
}

TEST(Control, AnotherVersionKindOrFlagIsRefused) {
    std::string bytes = encode(question(backend::GetUser{"ada"}));
    bytes[0] = 2;
    EXPECT_FALSE(decode(bytes));
    bytes[0] = 1;
    bytes[1] = 'Z';
    EXPECT_FALSE(decode(bytes));
    bytes[1] = 'Q';
    bytes[10 + 4 + 7] = 99;
    EXPECT_FALSE(decode(bytes));
    std::string found = encode(answer());
    found[10] = 2;
    EXPECT_FALSE(decode(found));
}

TEST(Control, WhatWouldHarmAClientIsRefused) {
    EXPECT_FALSE(decode(encode(question(backend::SendDirect{"node-0-1-1", "{\"a\":nulll}"}))));
    EXPECT_FALSE(decode(encode(question(backend::SendDirect{"node-0-1-1", "\"\xff\""}))));
    EXPECT_FALSE(decode(encode(question(backend::DisconnectUser{"ada", 1000, ""}))));
    EXPECT_FALSE(decode(encode(question(backend::ListChannels{"", 100000, {}}))));
}

}  // namespace
}  // namespace starling::domain::control
