#include "engine/wire.h"

#include <gtest/gtest.h>

namespace starling::engine {
namespace {

TEST(Wire, AFieldMayHoldAnything) {
    std::string out;
    append_field(out, "a:b\n3:xyz");
    append_field(out, 42);
    FieldReader in(out);
    EXPECT_EQ(in.text(), "a:b\n3:xyz");
    EXPECT_EQ(in.number(), 42);
    EXPECT_TRUE(in.ok());
    EXPECT_TRUE(in.at_end());
}

TEST(Wire, AFieldThatClaimsMoreThanThereIsEndsTheReading) {
    for (const char* text : {"5:abc", "x", ":", "-1:a", "99999999999999999999:a", "3", ""}) {
        FieldReader in(text);
        in.text();
        EXPECT_FALSE(in.ok()) << text;
    }
}

TEST(Wire, AMessageComesBackAsItWas) {
    Announcement announcement{.epoch = "ep", .offset = 7, .before = "m6", .message = {}, .except = "n-0-1-1"};
    announcement.message = {.id = "m7", .offset = 7, .event = "e", .data = "{\"a\":[1,2]}", .user_id = "ada",
                            .conflate_key = {}, .time = 1700000000000};
    const auto payload = decode_payload(encode(announcement));
    ASSERT_TRUE(payload);
    const auto& back = std::get<Announcement>(*payload);
    EXPECT_EQ(back.before, "m6");
    EXPECT_EQ(back.except, "n-0-1-1");
    EXPECT_EQ(back.message.offset, 7u);
    EXPECT_EQ(back.message.event, "e");
    EXPECT_EQ(back.message.data, announcement.message.data);
    EXPECT_FALSE(back.message.conflate_key);
}

TEST(Wire, ADeltaIsReadWithAllItsOperations) {
    std::string text = "P";
    for (const char* field : {"ep", "3", "t2", "t3", "node.1"}) { append_field(text, field); }
    text += 'J';
    append_field(text, "ada");
    append_field(text, "77:1700:3:1:{\"x\":\"a:b\"}");
    text += 'L';
    append_field(text, "bob");
    append_field(text, "78:1600:1:0:");
    const auto payload = decode_payload(text);
    ASSERT_TRUE(payload);
    const auto& delta = std::get<Delta>(*payload);
    EXPECT_EQ(delta.version, 3u);
    ASSERT_EQ(delta.ops.size(), 2u);
    EXPECT_EQ(delta.ops[0].record.data, "{\"x\":\"a:b\"}");
    EXPECT_EQ(delta.ops[0].record.hash, 77u);
    EXPECT_EQ(delta.ops[1].kind, 'L');
    EXPECT_FALSE(delta.ops[1].record.data);
}

TEST(Wire, WhatIsNotOursIsRefused) {
    for (const char* text : {"", "Q", "hello", "M1:a", "P2:ep1:0", "T1:a", "A", "X5:ab"}) { EXPECT_FALSE(decode_payload(text)) << text; }
}

TEST(Wire, WhatALaterVersionAddsIsLeftOut) {
    const std::string note = encode(TypingNote{"n", "ada", true});
    std::string longer = note;
    append_field(longer, "new");
    ASSERT_TRUE(decode_payload(longer));
    EXPECT_EQ(std::get<TypingNote>(*decode_payload(longer)).user, "ada");
    Announcement announcement{.epoch = "e", .offset = 1, .before = "", .message = {.id = "m", .data = "1"}, .except = ""};
    longer = encode(announcement);
    append_field(longer, "new");
    ASSERT_TRUE(decode_payload(longer));
    EXPECT_EQ(std::get<Announcement>(*decode_payload(longer)).message.id, "m");

    std::string delta = "P";
    for (const char* field : {"ep", "3", "t2", "t3", "node.1"}) { append_field(delta, field); }
    const auto with = [&](char kind, const char* record) {
        std::string text = delta + kind;
        append_field(text, "ada");
        append_field(text, record);
        return decode_payload(text + "J3:bob12:78:1600:1:0:");
    };
    ASSERT_FALSE(with('J', "no record"));
    ASSERT_FALSE(with('Q', "77:1700:3:0:"));
    ASSERT_TRUE(with('q', "another shape"));
    EXPECT_EQ(std::get<Delta>(*with('q', "another shape")).ops.size(), 1u);
}

TEST(Wire, ANumberComesAsAnIntegerOrAsText) {
    EXPECT_EQ(to_number("-42"), -42);
    EXPECT_EQ(to_number("nothing"), 0);
    codec::resp::Value value;
    value.kind = codec::resp::Value::Kind::integer;
    value.integer = 7;
    EXPECT_EQ(to_number(value), 7);
    value.kind = codec::resp::Value::Kind::text;
    value.text = "8";
    EXPECT_EQ(to_number(value), 8);
}

TEST(Wire, AnIncarnationNamesItsNode) {
    EXPECT_EQ(node_of("abc.12"), "abc");
}

}  // namespace
}  // namespace starling::engine
