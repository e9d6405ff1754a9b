#include "codec/json.h"

#include <gtest/gtest.h>
#include <simdjson.h>

namespace starling::codec::json {
namespace {

bool accepted(std::string_view text) { return parse(text, 64).has_value(); }

// Texts after JSONTestSuite's kinds; the oracle says what is right.
TEST(Json, AgreesWithSimdjson) {
    static constexpr std::string_view kTexts[] = {
        "{}", "[]", "[[]]", "[1]", "[1,2]", "[1,]", "[,1]", "[1 2]", "{\"a\":1}", "{\"a\":1,}", "{,}", "{\"a\"}",
        "{\"a\":}", "{a:1}", "{\"a\":1 \"b\":2}", "{\"a\":nulll}", "[nul]", "[tru]", "01", "[01]", "[-01]", "[1.]",
        "[.1]", "[-]", "[1e]", "[1e+]", "[1e5]", "[1E-5]", "[-0]", "[0.0]", "[1.5e10]", "\"a\"", "\"", "\"\\u12\"",
        "\"\\u00e9\"", "\"\\x\"", "\"\n\"", "[\"\t\"]", "[1]]", "[[1]", "{\"a\":[1,{\"b\":null}]}", " [ 1 , 2 ] ",
        "{\"a\" : { } }", "[]x", "", " ", "null", "true", "nan", "[NaN]", "[Infinity]", "{]", "[}", "[\"a\"}",
        "{\"a\":1]", "[1}", "'a'", "[/**/1]", "{\"a\":\"b\"}}", "[\"\\\\\"]", "[\"\\\"]", "[{}]", "{\"\":0}", "[:]",
        "{\"a\"::1}", "[,]", "{\"a\",1}", "[true,false,null]", "[-1.5E+3]", "[+1]", "[1,,2]", "{\"a\":1,,\"b\":2}"};
    simdjson::dom::parser oracle;
    for (const auto text : kTexts) {
        const bool right = !oracle.parse(simdjson::padded_string(text)).error();
        EXPECT_EQ(accepted(text), right) << text;
    }
}

TEST(Json, StopsAtTheDepthWithoutRecursion) {
    EXPECT_TRUE(parse("[[]]", 2));
    EXPECT_FALSE(parse("[[[]]]", 2));
    EXPECT_FALSE(parse(std::string(1000000, '['), 128));
    EXPECT_EQ(depth(R"({"a":["]",[{}]]})"), 4U);
    EXPECT_EQ(depth("\"[[\""), 0U);
}

TEST(Json, HandsOutRawSlicesAndNoKeyTwice) {
    const auto list = fields(*parse(R"( {"a" : [1, 2] , "b\u0062": 1.50} )", 8));
    ASSERT_TRUE(list);
    ASSERT_EQ(list->size(), 2U);
    EXPECT_EQ((*list)[0].value.raw, "[1, 2]");
    EXPECT_EQ((*list)[1].key, "bb");
    EXPECT_EQ((*list)[1].value.raw, "1.50");
    EXPECT_FALSE(fields(*parse(R"({"a":1,"\u0061":2})", 8)));
    EXPECT_EQ(elements(*parse("[1,[2],\"]\"]", 8), 9)->size(), 3U);
    EXPECT_FALSE(elements(*parse("[1,2]", 8), 1));
}

TEST(Json, UnescapesAndEscapes) {
    EXPECT_EQ(unescape(R"("a\n\u00e9\ud83d\ude00")"), "a\n\xC3\xA9\xF0\x9F\x98\x80");
    EXPECT_FALSE(unescape(R"("\ud800")"));
    EXPECT_FALSE(unescape(R"("\udc00")"));
    std::string out;
    append_string(out, "a\"\\\n\x01");
    EXPECT_EQ(out, R"("a\"\\\u000a\u0001")");
}

// Text is looked at eight bytes at a time: each byte that needs a look of its own, at each place.
TEST(Json, FindsWhatIsSpecialAtEveryPlace) {
    for (std::size_t size = 1; size <= 20; ++size) {
        for (std::size_t at = 0; at < size; ++at) {
            for (int c = 1; c < 128; ++c) {
                std::string text(size, at % 2 == 0 ? 'x' : '\x7f');
                text[at] = static_cast<char>(c);
                std::string out;
                append_string(out, text);
                ASSERT_TRUE(parse(out, 1)) << out;
                ASSERT_EQ(unescape(out), text);
                ASSERT_EQ(parse('"' + text + '"', 1).has_value(), c >= 0x20 && c != '"' && c != '\\') << text;
            }
            std::string text(size, 'x');
            text.replace(at, 1, "\xC3\xA9");
            ASSERT_TRUE(valid_utf8(text));
            text.erase(at + 1, 1);
            ASSERT_FALSE(valid_utf8(text));
        }
    }
}

TEST(Json, IntegersOnly) {
    EXPECT_EQ(integer("9007199254740991"), 9007199254740991);
    EXPECT_FALSE(integer("1.0"));
    EXPECT_FALSE(integer("1e3"));
    EXPECT_FALSE(integer("99999999999999999999"));
}

TEST(Json, KnowsUtf8) {
    EXPECT_TRUE(valid_utf8("a\xC3\xA9\xF0\x9F\x98\x80"));
    for (const char* bad : {"\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\x80", "\xF5\x80\x80\x80"}) {
        EXPECT_FALSE(valid_utf8(bad));
    }
}

}  // namespace
}  // namespace starling::codec::json
