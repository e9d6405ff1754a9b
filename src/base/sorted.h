#pragma once
// Rows in the order of their keys, in a few pieces of memory: a channel has ten members or a hundred thousand, and a tree
// costs more for each than a row itself. A row says its key: `std::string_view key() const`. Empty, it is one pointer; up to
// a block, one piece of memory.
// A pointer to a row holds until the next row is added or taken away.

#include <algorithm>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace starling {

template <typename Row>
class Sorted {
    static_assert(std::is_nothrow_move_constructible_v<Row> && alignof(Row) <= 8);
    static constexpr std::uint32_t kBlockMax = 64;

    // The rows follow it.
    struct alignas(8) Block {
        std::uint32_t size = 0;
        std::uint32_t room = 0;              // 0: it is an Index.
        Row* rows() { return std::launder(reinterpret_cast<Row*>(this + 1)); }
        std::span<Row> all() { return {rows(), size}; }
    };
    // Of more than one block, none of them empty.
    struct Index : Block {
        std::vector<Block*> blocks;
    };

    template <typename Value>
    class Walk {
     public:
        using value_type = Row;
        using difference_type = std::ptrdiff_t;
        using iterator_category = std::forward_iterator_tag;
        using reference = Value&;
        using pointer = Value*;
        Walk() = default;
        Walk(Block* const* block, std::uint32_t at) : block_(block), at_(at) {}
        Value& operator*() const { return (*block_)->rows()[at_]; }
        Value* operator->() const { return &**this; }
        Walk& operator++() {
            if (++at_ == (*block_)->size) {
                ++block_;
                at_ = 0;
            }
            return *this;
        }
        Walk operator++(int) {
            Walk before = *this;
            ++*this;
            return before;
        }
        bool operator==(const Walk& other) const { return block_ == other.block_ && at_ == other.at_; }

     private:
        Block* const* block_ = nullptr;
        std::uint32_t at_ = 0;
    };

 public:
    using iterator = Walk<Row>;
    using const_iterator = Walk<const Row>;

    Sorted() = default;
    ~Sorted() { clear(); }
    Sorted(Sorted&& other) noexcept : root_(std::exchange(other.root_, nullptr)) {}
    Sorted& operator=(Sorted&& other) noexcept {
        std::swap(root_, other.root_);
        return *this;
    }

    bool empty() const { return root_ == nullptr; }
    std::size_t size() const {
        std::size_t size = 0;
        for (const Block* block : blocks()) { size += block->size; }
        return size;
    }
    iterator begin() { return {blocks().data(), 0}; }
    iterator end() { return {blocks().data() + blocks().size(), 0}; }
    const_iterator begin() const { return {blocks().data(), 0}; }
    const_iterator end() const { return {blocks().data() + blocks().size(), 0}; }

    Row* find(std::string_view key) { return const_cast<Row*>(std::as_const(*this).find(key)); }
    const Row* find(std::string_view key) const {
        if (empty()) { return nullptr; }
        const auto [block, at] = place(key);
        return at < (*block)->size && (*block)->rows()[at].key() == key ? (*block)->rows() + at : nullptr;
    }
    bool contains(std::string_view key) const { return find(key) != nullptr; }
    // The first row behind `key`.
    const_iterator after(std::string_view key) const {
        if (empty()) { return end(); }
        auto [block, at] = place(key);
        if (at < (*block)->size && (*block)->rows()[at].key() == key) { ++at; }
        return at < (*block)->size ? const_iterator{block, at} : const_iterator{block + 1, 0};
    }

    // The row is new; true where it was.
    std::pair<Row*, bool> add(Row row) {
        if (empty()) { root_ = make(2); }
        auto [found, at] = place(row.key());
        if (at < (*found)->size && (*found)->rows()[at].key() == row.key()) { return {(*found)->rows() + at, false}; }
        Block** block = const_cast<Block**>(found);
        if ((*block)->size == kBlockMax) {
            block = split(block);
            if (at > (*block)->size) {
                at -= (*block)->size;
                ++block;
            }
        }
        // Not doubled: most stay as small as they are.
        if ((*block)->size == (*block)->room) { resize(*block, std::min((*block)->size + 2 + (*block)->size / 4, kBlockMax)); }
        Row* const here = (*block)->rows() + at;
        Row* const end = (*block)->rows() + (*block)->size;
        if (here == end) {
            std::construct_at(end, std::move(row));
        } else {
            std::construct_at(end, std::move(end[-1]));
            std::move_backward(here, end - 1, end);
            *here = std::move(row);
        }
        ++(*block)->size;
        return {here, true};
    }
    bool erase(std::string_view key) {
        if (empty()) { return false; }
        const auto [found, at] = place(key);
        Block* block = *found;
        if (at == block->size || block->rows()[at].key() != key) { return false; }
        std::move(block->rows() + at + 1, block->rows() + block->size, block->rows() + at);
        std::destroy_at(block->rows() + --block->size);
        tidy(const_cast<Block**>(found));
        return true;
    }
    // In order; `gone` is asked once for each row.
    template <typename Gone>
    void erase_if(Gone gone) {
        for (Block* block : blocks()) {
            Row* const end = block->rows() + block->size;
            Row* const left = std::remove_if(block->rows(), end, std::ref(gone));
            std::destroy(left, end);
            block->size = static_cast<std::uint32_t>(left - block->rows());
        }
        if (empty()) { return; }
        if (!many()) {
            if (root_->size == 0) { clear(); }
            return;
        }
        std::erase_if(index().blocks, [](Block* block) {
            const bool nobody = block->size == 0;
            if (nobody) { forget(block); }
            return nobody;
        });
        if (index().blocks.size() < 2) { narrow(); }
    }
    void clear() {
        if (empty()) { return; }
        Index* const over = many() ? &index() : nullptr;
        for (Block* block : blocks()) { forget(block); }
        delete over;
        root_ = nullptr;
    }

 private:
    bool many() const { return root_ != nullptr && root_->room == 0; }
    Index& index() const { return *static_cast<Index*>(root_); }
    std::span<Block* const> blocks() const {
        if (many()) { return index().blocks; }
        return {&root_, root_ == nullptr ? 0U : 1U};
    }

    static Block* make(std::uint32_t room) { return new (::operator new(sizeof(Block) + room * sizeof(Row))) Block{0, room}; }
    static void forget(Block* block) {
        std::destroy_n(block->rows(), block->size);
        ::operator delete(block);
    }
    static void move_rows(Block* to, Row* from, std::uint32_t count) {
        std::uninitialized_move_n(from, count, to->rows() + to->size);
        std::destroy_n(from, count);
        to->size += count;
    }
    static void resize(Block*& block, std::uint32_t room) {
        Block* other = make(room);
        move_rows(other, block->rows(), block->size);
        ::operator delete(std::exchange(block, other));
    }

    // Where the key is or would be.
    std::pair<Block* const*, std::uint32_t> place(std::string_view key) const {
        const auto all = blocks();
        Block* const* block = &all.front();
        if (all.size() > 1) {
            block = &*std::upper_bound(all.begin() + 1, all.end(), key,
                                       [](std::string_view wanted, Block* one) { return wanted < one->rows()->key(); }) - 1;
        }
        const auto rows = (*block)->all();
        const auto row = std::lower_bound(rows.begin(), rows.end(), key,
                                          [](const Row& one, std::string_view wanted) { return one.key() < wanted; });
        return {block, static_cast<std::uint32_t>(row - rows.begin())};
    }
    // The lower half stays where `block` is, which may be another place now; the upper follows it.
    Block** split(Block** block) {
        std::size_t number = 0;
        if (many()) {
            number = static_cast<std::size_t>(block - index().blocks.data());
        } else {
            auto* wider = new Index;
            wider->blocks.push_back(root_);
            root_ = wider;
        }
        auto& list = index().blocks;
        Block* lower = list[number];
        Block* upper = make(kBlockMax);
        move_rows(upper, lower->rows() + kBlockMax / 2, lower->size - kBlockMax / 2);
        lower->size = kBlockMax / 2;
        list.insert(list.begin() + static_cast<std::ptrdiff_t>(number) + 1, upper);
        return &list[number];
    }
    // A block that has become small joins its neighbour; room that has become large is given back.
    void tidy(Block** block) {
        if ((*block)->size == 0 && !many()) { return clear(); }
        if (many()) {
            auto& list = index().blocks;
            const auto here = list.begin() + (block - list.data());
            Block* next = here + 1 == list.end() ? nullptr : here[1];
            if ((*here)->size == 0) {
                forget(*here);
                list.erase(here);
                if (list.size() == 1) { narrow(); }
                return;
            }
            if (next != nullptr && (*here)->size + next->size <= kBlockMax / 2) {
                if ((*here)->room < (*here)->size + next->size) { resize(*here, kBlockMax / 2); }
                move_rows(*here, next->rows(), next->size);
                ::operator delete(next);
                list.erase(here + 1);
                if (list.size() == 1) { narrow(); }
                return;
            }
        }
        if ((*block)->room > 2 * (*block)->size + 8) { resize(*block, (*block)->size); }
    }
    // One block, or none, needs no index.
    void narrow() {
        Block* only = index().blocks.empty() ? nullptr : index().blocks.front();
        delete &index();
        root_ = only;
    }

    Block* root_ = nullptr;
};

}  // namespace starling
