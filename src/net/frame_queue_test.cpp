#include "net/frame_queue.h"

#include <string>

#include <gtest/gtest.h>

namespace starling::net {
namespace {

std::string text_of(const FrameQueue& queue) {
    iovec parts[64];
    const int count = queue.fill(parts, 64);
    std::string text;
    for (int i = 0; i < count; ++i) { text.append(static_cast<char*>(parts[i].iov_base), parts[i].iov_len); }
    return text;
}

TEST(FrameQueue, GivesBackInOrderWhateverThePieces) {
    for (std::size_t step = 1; step <= 12; ++step) {
        FrameQueue::Pool pool;
        FrameQueue queue;
        std::string sent;
        for (const char* frame : {"one", "two", "three"}) { queue.push(SharedBytes(ByteView(frame)), pool); }
        EXPECT_EQ(queue.bytes(), 11U);
        while (!queue.empty()) {
            const std::string text = text_of(queue);
            EXPECT_EQ(text.size(), queue.bytes());
            const std::size_t size = std::min(step, text.size());
            sent += text.substr(0, size);
            queue.drop(size, pool);
        }
        EXPECT_EQ(sent, "onetwothree");
        EXPECT_EQ(queue.bytes(), 0U);
        EXPECT_EQ(pool.size(), 1U);
    }
}

TEST(FrameQueue, PushesBehindWhatIsHalfSent) {
    FrameQueue::Pool pool;
    FrameQueue queue;
    queue.push(SharedBytes(ByteView("abc")), pool);
    queue.drop(1, pool);
    queue.push(SharedBytes(ByteView("de")), pool);
    queue.drop(2, pool);
    queue.push(SharedBytes(ByteView("f")), pool);
    EXPECT_EQ(text_of(queue), "def");
}

TEST(FrameQueue, NeedsNoListForOneFrameAndKeepsNoLargeOne) {
    FrameQueue::Pool pool;
    FrameQueue queue;
    queue.push(SharedBytes(ByteView("a")), pool);
    queue.drop(1, pool);
    EXPECT_TRUE(pool.empty());
    for (int i = 0; i < 500; ++i) { queue.push(SharedBytes(ByteView("a")), pool); }
    iovec parts[64];
    EXPECT_EQ(queue.fill(parts, 64), 64);
    queue.drop(500, pool);
    EXPECT_TRUE(queue.empty());
    EXPECT_TRUE(pool.empty());
}

}  // namespace
}  // namespace starling::net
