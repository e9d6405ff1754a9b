#include "net/send_ring.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

namespace starling::net {
namespace {

using Pair = std::array<int, 2>;

Pair make_pair() {
    Pair ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()), 0);
    return ends;
}

std::string drain(int descriptor) {
    std::string all;
    char bytes[65536];
    for (ssize_t count = 0; (count = ::recv(descriptor, bytes, sizeof bytes, MSG_DONTWAIT)) > 0;) {
        all.append(bytes, static_cast<std::size_t>(count));
    }
    return all;
}

class SendRingTest : public testing::Test {
 protected:
    void SetUp() override {
        ring_ = SendRing::open();
        if (!ring_) { GTEST_SKIP() << "no io_uring here"; }
    }
    std::unique_ptr<SendRing> ring_;
};

TEST_F(SendRingTest, TellsOnlyOfThoseThatWereNotSentWhole) {
    const Pair well = make_pair();
    const Pair narrow = make_pair();
    const Pair gone = make_pair();
    ::close(gone[1]);
    const std::string large(8 << 20, 'x');
    ring_->add(well[0], "hello");
    ring_->add(narrow[0], large);
    ring_->add(gone[0], "hello");
    EXPECT_EQ(ring_->size(), 3U);
    std::uint32_t taken = 0;
    const auto outcomes = ring_->submit(taken);
    EXPECT_EQ(taken, 3U);
    EXPECT_EQ(ring_->size(), 0U);
    ASSERT_EQ(outcomes.size(), 2U);
    for (const SendRing::Outcome& outcome : outcomes) {
        if (outcome.place == 1) {
            EXPECT_GT(outcome.result, 0);
            EXPECT_EQ(drain(narrow[1]).size(), static_cast<std::size_t>(outcome.result));
        } else {
            EXPECT_EQ(outcome.place, 2U);
            EXPECT_EQ(outcome.result, -EPIPE);
        }
    }
    EXPECT_EQ(drain(well[1]), "hello");
    EXPECT_EQ(drain(narrow[1]), "") << "something was sent behind our back";
    for (const int descriptor : {well[0], well[1], narrow[0], narrow[1], gone[0]}) { ::close(descriptor); }
}

TEST_F(SendRingTest, SendsBatchAfterBatch) {
    // Several pairs: a pair's buffer holds a few hundred small sends, however small.
    std::vector<Pair> pairs;
    for (int i = 0; i < 16; ++i) { pairs.push_back(make_pair()); }
    for (int round = 0; round < 5; ++round) {
        std::vector<std::string> expected(pairs.size());
        std::string letters(SendRing::kBatch, ' ');
        for (std::uint32_t i = 0; i < SendRing::kBatch; ++i) {
            letters[i] = static_cast<char>('a' + (static_cast<std::uint32_t>(round) + i) % 26);
            EXPECT_FALSE(ring_->full());
            ring_->add(pairs[i % pairs.size()][0], std::string_view(letters).substr(i, 1));
            expected[i % pairs.size()] += letters[i];
        }
        EXPECT_TRUE(ring_->full());
        std::uint32_t taken = 0;
        EXPECT_TRUE(ring_->submit(taken).empty());
        EXPECT_EQ(taken, SendRing::kBatch);
        for (std::size_t i = 0; i < pairs.size(); ++i) { EXPECT_EQ(drain(pairs[i][1]), expected[i]); }
    }
    for (const Pair& pair : pairs) {
        ::close(pair[0]);
        ::close(pair[1]);
    }
}

}  // namespace
}  // namespace starling::net
