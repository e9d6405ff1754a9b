#include "net/resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <map>

namespace starling::net {
namespace {

using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

TEST(LookUp, NumbersAreAddressesWithoutAQuestion) {
    const auto four = look_up("127.0.0.1", 6379, Lookup::numbers_only);
    ASSERT_THAT(four, SizeIs(1));
    EXPECT_EQ(four[0].storage.ss_family, AF_INET);
    const auto six = look_up("::1", 6379, Lookup::numbers_only);
    ASSERT_THAT(six, SizeIs(1));
    EXPECT_EQ(six[0].storage.ss_family, AF_INET6);
    EXPECT_THAT(look_up("localhost", 6379, Lookup::numbers_only), IsEmpty());
    EXPECT_THAT(look_up("127.0.0.1.5", 6379, Lookup::numbers_only), IsEmpty());
}

TEST(Resolver, AnswersEveryQuestionUnderItsTicket) {
    Resolver resolver;
    resolver.ask(5, "", 80);                 // Once this ended the thread, and no name was answered any more.
    resolver.ask(7, "localhost", 80);
    resolver.ask(9, "127.0.0.1", 81);
    std::map<std::uint64_t, std::vector<SocketAddress>> answers;
    while (answers.size() < 3) {
        pollfd waiting{resolver.event(), POLLIN, 0};
        ASSERT_EQ(::poll(&waiting, 1, 20'000), 1) << "no answer";
        std::vector<Resolved> out;
        resolver.drain(out);
        for (auto& one : out) { answers[one.ticket] = std::move(one.addresses); }
    }
    EXPECT_TRUE(answers.contains(5));
    EXPECT_THAT(answers.at(7), Not(IsEmpty()));
    EXPECT_THAT(answers.at(9), SizeIs(1));
}

TEST(Resolver, MayGoWhileItIsAsked) {
    for (int i = 0; i < 20; ++i) {
        Resolver resolver;
        resolver.ask(1, "localhost", 80);
    }
}

}  // namespace
}  // namespace starling::net
