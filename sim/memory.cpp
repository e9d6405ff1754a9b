// Memory for the simulator's own binary: one thread that makes and forgets small values by the million. Blocks of one
// size are kept in a list and given out again; nothing goes back to the system before the end.
#include <cstddef>
#include <cstdlib>
#include <new>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {

constexpr std::size_t kStep = 16, kSizes = 65;   // Up to 1 KB.
constexpr std::size_t kChunk = 1 << 18;

struct Free { Free* next; };
Free* lists[kSizes];
char *chunk, *chunk_end;

void* take(std::size_t size) {
    const std::size_t index = (size + kStep - 1) / kStep;
    if (index >= kSizes) {
        void* block = std::malloc(size);
        if (block == nullptr) { std::abort(); }
        return block;
    }
    if (Free* block = lists[index]) {
        lists[index] = block->next;
        return block;
    }
    const std::size_t bytes = (index == 0 ? 1 : index) * kStep;
    if (static_cast<std::size_t>(chunk_end - chunk) < bytes) {
        chunk = static_cast<char*>(std::malloc(kChunk));
        if (chunk == nullptr) { std::abort(); }
        chunk_end = chunk + kChunk;
    }
    void* block = chunk;
    chunk += bytes;
    return block;
}

void give(void* block, std::size_t size) {
    const std::size_t index = (size + kStep - 1) / kStep;
    if (index >= kSizes) { return std::free(block); }
    auto* free = static_cast<Free*>(block);
    free->next = lists[index];
    lists[index] = free;
}

// Where the size is not known when it is given back, it stands before the block.
constexpr std::size_t kHead = 16;

}  // namespace

void* operator new(std::size_t size) {
    auto* block = static_cast<std::size_t*>(take(size + kHead));
    *block = size + kHead;
    return reinterpret_cast<char*>(block) + kHead;
}
void operator delete(void* block) noexcept {
    if (block == nullptr) { return; }
    char* head = static_cast<char*>(block) - kHead;
    give(head, *reinterpret_cast<std::size_t*>(head));
}
void operator delete(void* block, std::size_t) noexcept { operator delete(block); }

#endif
