#include "codec/resp.h"

#include <gtest/gtest.h>

namespace starling::codec::resp {
namespace {

Value one(std::string_view bytes) {
    Reader reader;
    reader.feed(bytes);
    auto value = reader.next();
    EXPECT_TRUE(value && *value) << bytes;
    return value && *value ? std::move(**value) : Value{};
}

std::string failure(std::string_view bytes) {
    Reader reader;
    reader.feed(bytes);
    const auto value = reader.next();
    return value ? "" : value.error();
}

TEST(Resp, WritesACommandAsBulkStrings) {
    std::string out = "before";
    append_command(out, {"SET", "key", std::string("a\r\n\0", 4), ""});
    EXPECT_EQ(out, std::string("before*4\r\n$3\r\nSET\r\n$3\r\nkey\r\n$4\r\na\r\n\0\r\n$0\r\n\r\n", 44));
}

TEST(Resp, ReadsEveryKind) {
    EXPECT_EQ(one("+OK\r\n").kind, Value::Kind::status);
    EXPECT_EQ(one("+OK\r\n").text, "OK");
    EXPECT_EQ(one("-MOVED 866 10.0.0.1:6379\r\n").kind, Value::Kind::error);
    EXPECT_EQ(one("-MOVED 866 10.0.0.1:6379\r\n").text, "MOVED 866 10.0.0.1:6379");
    EXPECT_EQ(one(":-42\r\n").integer, -42);
    EXPECT_EQ(one("$5\r\na\r\nbc\r\n").text, "a\r\nbc");
    EXPECT_EQ(one("$-1\r\n").kind, Value::Kind::null);
    EXPECT_EQ(one("*-1\r\n").kind, Value::Kind::null);
    EXPECT_EQ(one("*0\r\n").kind, Value::Kind::array);
    const Value nested = one("*3\r\n*2\r\n:1\r\n$1\r\nx\r\n$0\r\n\r\n*1\r\n*-1\r\n");
    ASSERT_EQ(nested.elements.size(), 3U);
    ASSERT_EQ(nested.elements[0].elements.size(), 2U);
    EXPECT_EQ(nested.elements[0].elements[1].text, "x");
    EXPECT_EQ(nested.elements[1].kind, Value::Kind::text);
    EXPECT_EQ(nested.elements[2].elements[0].kind, Value::Kind::null);
}

TEST(Resp, ReadsRepliesCutAnywhere) {
    const std::string bytes = "*2\r\n$5\r\nhello\r\n*2\r\n:7\r\n-ERR no\r\n+PONG\r\n$0\r\n\r\n";
    for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
        Reader reader;
        std::vector<Value> values;
        for (const auto& piece : {bytes.substr(0, cut), bytes.substr(cut)}) {
            reader.feed(piece);
            while (true) {
                auto value = reader.next();
                ASSERT_TRUE(value);
                if (!*value) { break; }
                values.push_back(std::move(**value));
            }
        }
        ASSERT_EQ(values.size(), 3U) << cut;
        EXPECT_EQ(values[0].elements[0].text, "hello");
        EXPECT_EQ(values[0].elements[1].elements[1].text, "ERR no");
        EXPECT_EQ(values[1].text, "PONG");
        EXPECT_EQ(values[2].text, "");
    }
}

TEST(Resp, RefusesWhatIsNotRespAndStaysRefusing) {
    Reader reader;
    reader.feed("HTTP/1.1 400 Bad Request\r\n");
    EXPECT_FALSE(reader.next());
    reader.feed("+OK\r\n");
    EXPECT_FALSE(reader.next());
    EXPECT_NE(failure("$-5\r\n"), "");
    EXPECT_NE(failure("*1000000000000\r\n"), "");
}

TEST(Resp, LimitsSizeDepthAndElements) {
    Reader reader(100);
    reader.feed("$200\r\n");
    EXPECT_TRUE(reader.next());
    reader.feed(std::string(100, 'x'));
    const auto value = reader.next();
    ASSERT_FALSE(value);
    EXPECT_EQ(value.error(), "a reply is too large");

    std::string deep;
    for (int i = 0; i < 20; ++i) { deep += "*1\r\n"; }
    EXPECT_NE(failure(deep), "");

    std::string wide = "*2000000\r\n";
    for (std::size_t i = 0; i < kReplyElementsMax + 1; ++i) { wide += ":1\r\n"; }
    EXPECT_EQ(failure(wide), "a reply has too many elements");
}

TEST(Resp, CountsTheSizeOfEachReplyForItself) {
    Reader reader(100);
    for (int i = 0; i < 50; ++i) {
        reader.feed("$20\r\n01234567890123456789\r\n$20\r\n0123");
        EXPECT_TRUE(reader.next().value());
        EXPECT_FALSE(reader.next().value());
        reader.feed("4567890123456789\r\n");
        EXPECT_TRUE(reader.next().value());
    }
}

}  // namespace
}  // namespace starling::codec::resp
