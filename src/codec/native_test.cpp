// The frames of tests/vectors/native.json: what a client sends and what it is told.
#include "codec/native.h"

#include <gtest/gtest.h>
#include <map>
#include <simdjson.h>

namespace starling::codec::native {
namespace {

simdjson::dom::element vectors() {
    static simdjson::dom::parser parser;
    static const simdjson::dom::element root = parser.load(STARLING_SOURCE_DIR "/tests/vectors/native.json");
    return root;
}

// In the order of `Command`.
constexpr std::string_view kTypes[] = {"connect", "subscribe", "unsubscribe", "publish", "typing", "presence.update",
                                       "presence.get", "history.get", "refresh", "notification.ack", "ping"};

std::string channel_of(const Command& command) {
    return std::visit([](const auto& it) -> std::string {
        if constexpr (requires { it.channel; }) { return it.channel; }
        return {};
    }, command);
}

std::string data_of(const Command& command) {
    if (const auto* it = std::get_if<Publish>(&command)) { return it->data; }
    if (const auto* it = std::get_if<PresenceUpdate>(&command)) { return it->data; }
    if (const auto* it = std::get_if<Subscribe>(&command)) { return it->presence_data.value_or(""); }
    return {};
}

std::string text_or_empty(simdjson::dom::element object, std::string_view key) {
    std::string_view text;
    return object[key].get(text) ? std::string() : std::string(text);
}

TEST(Native, DecodesWhatTheVectorsSay) {
    const Limits limits;
    std::size_t count = 0;
    for (const simdjson::dom::element entry : simdjson::dom::array(vectors()["client"])) {
        SCOPED_TRACE(text_or_empty(entry, "name"));
        ++count;
        const auto request = decode(text_or_empty(entry, "text"), limits);
        simdjson::dom::element want;
        if (!entry["error"].get(want)) {
            ASSERT_FALSE(request);
            EXPECT_EQ(name(request.error().error.code), text_or_empty(want, "code"));
            EXPECT_TRUE(request.error().error.message.starts_with(text_or_empty(want, "message")))
                << request.error().error.message;
            continue;
        }
        want = entry["command"];
        ASSERT_TRUE(request) << request.error().error.message;
        EXPECT_EQ(kTypes[request->command.index()], text_or_empty(want, "type"));
        std::int64_t id = 0;
        EXPECT_EQ(request->id.has_value(), !want["id"].get(id));
        EXPECT_EQ(request->id.value_or(0), id);
        EXPECT_EQ(channel_of(request->command), text_or_empty(want, "channel"));
        EXPECT_EQ(data_of(request->command), text_or_empty(want, "data"));
    }
    EXPECT_GT(count, 100U);
}

TEST(Native, DecodesTheFieldsOfAFrame) {
    const auto history = decode(R"({"type":"history.get","channel":"c","since":{"epoch":"e","offset":1,"id":"m"},)"
                                R"("limit":1000,"reverse":true})", {});
    ASSERT_TRUE(history);
    const auto& get = std::get<HistoryGet>(history->command);
    EXPECT_EQ(get.since, (Position{"e", 1, "m"}));
    EXPECT_EQ(get.limit, 1000U);
    EXPECT_TRUE(get.reverse);
    const auto subscribe = decode(R"({"type":"subscribe","channel":"c","presence":true,"watch":"none","token":"t"})", {});
    ASSERT_TRUE(subscribe);
    const auto& asked = std::get<Subscribe>(subscribe->command);
    EXPECT_TRUE(asked.present && asked.presence_asked && !asked.presence_data);
    EXPECT_EQ(asked.watch, Watch::none);
    EXPECT_EQ(asked.token, "t");
    const auto over = decode(R"({"type":"history.get","id":4,"channel":"c","limit":1001})", {});
    ASSERT_FALSE(over);
    EXPECT_EQ(over.error().id, 4);
    EXPECT_EQ(over.error().channel, "c");
    EXPECT_EQ(over.error().error.message, "limit: 1001, the limit is 1000");
}

TEST(Native, EncodesWhatTheVectorsSay) {
    const Position position{"e", 7, "m"};
    const Message message{"m", 7, "v", R"({"a" : 1})", "u", {}, 5};
    const Member member{"u", 5, "1"};
    const PresenceSummary summary{1, std::vector{member}};
    const std::map<std::string, std::string> frames = {
        {"connected", encode(Connected{1, "k", "u", "n", 5, 25, 9, "r", true, {position, true, {}}})},
        {"subscribed", encode(Subscribed{1, "c", position, true, "", std::vector{message}, summary,
                                         std::vector<std::string>{"v"}, true})},
        {"subscribed, fork", encode(Subscribed{{}, "c", {}, false, "fork", {}, {}, {}, false})},
        {"unsubscribed", encode_unsubscribed({}, "c", "ended", "r")},
        {"message", encode_message("c", message)},
        {"message without data", encode_message_without_data("c", message)},
        {"published", encode_published(1, "c", "m", position, true)},
        {"presence.join", encode_presence("c", {1, {member}, {}, {}})},
        {"presence.update", encode_presence("c", {1, {}, {member}, {}})},
        {"presence.leave", encode_presence("c", {1, {}, {}, {"u"}})},
        {"presence.diff", encode_presence("c", {2, {member}, {member}, {"w"}})},
        {"presence.count", encode_presence_count("c", 2)},
        {"presence", encode_presence_list(1, "c", summary, true)},
        {"typing.start", encode_typing("c", "u", true)},
        {"typing.stop", encode_typing("c", "u", false)},
        {"notification", encode_notification(message)},
        {"notification.acked", encode_notification_acked(7)},
        {"notifications", encode_notifications({position, true, {}})},
        {"direct", encode_direct("1")},
        {"history", encode_history(1, "c", position, {})},
        {"refreshed", encode_refreshed(1, 9)},
        {"reconnect", encode_reconnect(9)},
        {"ok", encode_ok(1)},
        {"pong", encode_pong({})},
        {"error", encode_error(1, {ErrorCode::rate_limited, "m"}, "c")},
    };
    std::size_t count = 0;
    for (const simdjson::dom::element entry : simdjson::dom::array(vectors()["server"])) {
        const auto frame = frames.find(text_or_empty(entry, "name"));
        ASSERT_NE(frame, frames.end()) << text_or_empty(entry, "name");
        EXPECT_EQ(frame->second, text_or_empty(entry, "text"));
        ++count;
    }
    EXPECT_EQ(count, frames.size());
}

}  // namespace
}  // namespace starling::codec::native
