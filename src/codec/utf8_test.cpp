#include "codec/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace starling::codec {
namespace {

struct Case {
    const char* name;
    std::string bytes;
    bool valid;
    std::size_t refused_at;  // Index of the first byte that cannot be, or the size where the end is missing.
};

const Case kCases[] = {
    {"empty", "", true, 0},
    {"ascii", "hello", true, 0},
    {"two bytes, first", "\xC2\x80", true, 0},
    {"three bytes, first", "\xE0\xA0\x80", true, 0},
    {"before surrogates", "\xED\x9F\xBF", true, 0},
    {"after surrogates", "\xEE\x80\x80", true, 0},
    {"noncharacter", "\xEF\xBF\xBF", true, 0},
    {"four bytes, first", "\xF0\x90\x80\x80", true, 0},
    {"last character", "\xF4\x8F\xBF\xBF", true, 0},
    {"greek", "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5", true, 0},
    {"lone continuation", "a\x80", false, 1},
    {"overlong two", "\xC0\xAF", false, 0},
    {"overlong two, last", "\xC1\xBF", false, 0},
    {"overlong three", "\xE0\x9F\xBF", false, 1},
    {"overlong four", "\xF0\x8F\xBF\xBF", false, 1},
    {"surrogate first", "\xED\xA0\x80", false, 1},
    {"surrogate last", "\xED\xBF\xBF", false, 1},
    {"past U+10FFFF", "\xF4\x90\x80\x80", false, 1},
    {"five bytes", "\xF8\x88\x80\x80\x80", false, 0},
    {"FE", "\xFE", false, 0},
    {"FF", "\xFF", false, 0},
    {"cut in two", "\xC3", false, 1},
    {"cut in three", "\xE2\x82", false, 2},
    {"cut in four", "\xF0\x9F\x98", false, 3},
    {"ascii inside a character", "\xE2\x82z", false, 2},
};

TEST(Utf8, AcceptsExactlyWhatRfc3629Does) {
    for (const Case& c : kCases) {
        EXPECT_EQ(valid_utf8(c.bytes), c.valid) << c.name;
        // Wherever it stands to the blocks of the fast path.
        for (std::size_t pad = 0; pad < 70; ++pad) {
            EXPECT_EQ(valid_utf8(std::string(pad, 'x') + c.bytes), c.valid) << c.name << " after " << pad;
            if (c.valid) { EXPECT_TRUE(valid_utf8(c.bytes + std::string(pad, 'x'))) << c.name; }
        }
    }
}

TEST(Utf8, RefusesAtTheFirstBadByteWhenFedOneByOne) {
    for (const Case& c : kCases) {
        Utf8Stream stream;
        std::size_t index = 0;
        while (index < c.bytes.size() && stream.feed(std::string_view(c.bytes).substr(index, 1))) { ++index; }
        EXPECT_EQ(index == c.bytes.size() && stream.complete(), c.valid) << c.name;
        if (!c.valid) { EXPECT_EQ(index, c.refused_at) << c.name; }
    }
}

TEST(Utf8, AnswersAlikeForEverySplit) {
    for (const Case& c : kCases) {
        for (std::size_t split = 0; split <= c.bytes.size(); ++split) {
            Utf8Stream stream;
            const bool valid = stream.feed(std::string_view(c.bytes).substr(0, split)) &&
                               stream.feed(std::string_view(c.bytes).substr(split)) && stream.complete();
            EXPECT_EQ(valid, c.valid) << c.name << " split at " << split;
        }
    }
}

}  // namespace
}  // namespace starling::codec
