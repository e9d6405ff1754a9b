#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include <gtest/gtest.h>

namespace starling::log {
namespace {

TEST(Log, WritesOneJsonObjectWithTheTimeFirst) {
    EXPECT_EQ(format(Level::info, 1'700'000'000'123, "listening", {{"address", "127.0.0.1:8000"}, {"shards", 2}}),
              R"({"time":"2023-11-14T22:13:20.123Z","level":"info","event":"listening","address":"127.0.0.1:8000","shards":2})");
}

TEST(Log, EscapesWhatAPeerMayHaveWritten) {
    const std::string line = format(Level::warning, 0, "refused", {{"channel", std::string("a\"\\\n\x1b[31m\0\x7f", 11)}});
    EXPECT_NE(line.find(R"("channel":"a\"\\\u000a\u001b[31m\u0000)"), std::string::npos) << line;
    EXPECT_EQ(line.find('\n'), std::string::npos);
}

TEST(Log, ReplacesBytesThatAreNotUtf8AndEscapesC1Controls) {
    const std::string line = format(Level::info, 0, "x", {{"a", "\xff\xc0\xaf"}, {"b", "\xc2\x9b"}, {"c", "\xc3\xa9"}, {"d", "\xed\xa0\x80"}});
    EXPECT_NE(line.find(R"("a":"\ufffd\ufffd\ufffd","b":"\u009b","c":")" "\xc3\xa9" R"(","d":"\ufffd\ufffd\ufffd")"), std::string::npos) << line;
}

TEST(Log, CutsALongField) {
    const std::string line = format(Level::info, 0, "x", {{"a", std::string(5000, 'a')}});
    EXPECT_LT(line.size(), 1200U);
    EXPECT_NE(line.find("aaa...\""), std::string::npos);
}

TEST(Log, NeverWaitsForTheWriter) {
    start(Level::off);
    for (int i = 0; i < 100'000; ++i) { error("never seen"); }
    stop();
    set_level(Level::info);
    EXPECT_EQ(dropped(), 0U);
}

TEST(Log, EndsThoughNobodyReadsIt) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_NONBLOCK), 0);
    const std::string block(4096, 'x');
    while (::write(ends[1], block.data(), block.size()) > 0) {}
    const int before = ::dup(STDERR_FILENO);
    ::dup2(ends[1], STDERR_FILENO);
    start(Level::info);
    for (int i = 0; i < 10; ++i) { info("nobody reads this"); }
    stop();
    ::dup2(before, STDERR_FILENO);
    for (const int descriptor : {before, ends[0], ends[1]}) { ::close(descriptor); }
}

TEST(Log, KnowsItsLevels) {
    EXPECT_EQ(parse_level("warning"), Level::warning);
    EXPECT_EQ(parse_level("loud"), std::nullopt);
}

}  // namespace
}  // namespace starling::log
