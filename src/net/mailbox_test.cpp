#include "net/mailbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <thread>

namespace starling::net {
namespace {

using ::testing::ElementsAre;

bool is_woken(const Mailbox<int>& mailbox) {
    pollfd look{mailbox.event(), POLLIN, 0};
    return ::poll(&look, 1, 0) == 1;
}

TEST(Mailbox, GivesEverythingInOrderAndIsEmptyThen) {
    Mailbox<int> mailbox;
    std::vector<int> out;
    mailbox.send(1);
    mailbox.send(2);
    mailbox.drain(out);
    EXPECT_THAT(out, ElementsAre(1, 2));
    out.clear();
    mailbox.drain(out);
    EXPECT_TRUE(out.empty());
}

TEST(Mailbox, WakesItsReaderOnceABatch) {
    Mailbox<int> mailbox;
    EXPECT_FALSE(is_woken(mailbox));
    mailbox.send(1);
    mailbox.send(2);
    std::uint64_t wakes = 0;
    ASSERT_EQ(::read(mailbox.event(), &wakes, sizeof wakes), 8);
    EXPECT_EQ(wakes, 1U);
    std::vector<int> out;
    mailbox.drain(out);
    mailbox.send(3);
    EXPECT_TRUE(is_woken(mailbox));
}

TEST(Mailbox, SaysThatItIsCrowdedAndDropsNothing) {
    Mailbox<int> mailbox;
    for (std::size_t i = 0; i < Mailbox<int>::kCrowded; ++i) { mailbox.send(0); }
    EXPECT_FALSE(mailbox.crowded());
    mailbox.send(1);
    EXPECT_TRUE(mailbox.crowded());
    std::vector<int> out;
    mailbox.drain(out);
    EXPECT_EQ(out.size(), Mailbox<int>::kCrowded + 1);
    EXPECT_FALSE(mailbox.crowded());
}

TEST(Mailbox, KeepsTheOrderOfEachSender) {
    Mailbox<int> mailbox;
    constexpr int kCount = 10000;
    std::jthread even([&] { for (int i = 0; i < kCount; i += 2) { mailbox.send(i); } });
    std::jthread odd([&] { for (int i = 1; i < kCount; i += 2) { mailbox.send(i); } });
    int last[2] = {-2, -1};
    int seen = 0;
    std::vector<int> out;
    while (seen < kCount) {
        out.clear();
        mailbox.drain(out);
        for (const int value : out) {
            EXPECT_EQ(value, last[value % 2] + 2);
            last[value % 2] = value;
            ++seen;
        }
    }
}

}  // namespace
}  // namespace starling::net
