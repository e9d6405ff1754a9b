#pragma once
// Rows in the order of their keys, in a few pieces of memory: a channel has ten members or a hundred thousand, and a tree
// costs more for each than a row itself. A row says its key: `std::string_view key() const`. Empty, it is one pointer.
// A pointer to a row holds until the next row is added or taken away.

#include <algorithm>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace starling {

template <typename Row>
class Sorted {
    static constexpr std::size_t kBlockMax = 64;
    using Block = std::vector<Row>;
    using Blocks = std::vector<Block>;       // None of them empty.

    template <typename Value, typename List>
    class Walk {
     public:
        using value_type = Row;
        using difference_type = std::ptrdiff_t;
        using iterator_category = std::forward_iterator_tag;
        using reference = Value&;
        using pointer = Value*;
        Walk() = default;
        Walk(List* blocks, std::size_t block, std::size_t at) : blocks_(blocks), block_(block), at_(at) {}
        Value& operator*() const { return (*blocks_)[block_][at_]; }
        Value* operator->() const { return &**this; }
        Walk& operator++() {
            if (++at_ == (*blocks_)[block_].size()) {
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
        List* blocks_ = nullptr;
        std::size_t block_ = 0, at_ = 0;
    };

 public:
    using iterator = Walk<Row, Blocks>;
    using const_iterator = Walk<const Row, const Blocks>;

    bool empty() const { return !blocks_; }
    std::size_t size() const {
        std::size_t size = 0;
        if (blocks_) {
            for (const Block& block : *blocks_) { size += block.size(); }
        }
        return size;
    }
    iterator begin() { return {blocks_.get(), 0, 0}; }
    iterator end() { return {blocks_.get(), blocks_ ? blocks_->size() : 0, 0}; }
    const_iterator begin() const { return {blocks_.get(), 0, 0}; }
    const_iterator end() const { return {blocks_.get(), blocks_ ? blocks_->size() : 0, 0}; }

    Row* find(std::string_view key) { return const_cast<Row*>(std::as_const(*this).find(key)); }
    const Row* find(std::string_view key) const {
        if (!blocks_) { return nullptr; }
        const auto [block, at] = place(key);
        const Block& rows = (*blocks_)[block];
        return at < rows.size() && rows[at].key() == key ? &rows[at] : nullptr;
    }
    bool contains(std::string_view key) const { return find(key) != nullptr; }
    // The first row behind `key`.
    const_iterator after(std::string_view key) const {
        if (!blocks_) { return end(); }
        auto [block, at] = place(key);
        const Block& rows = (*blocks_)[block];
        if (at < rows.size() && rows[at].key() == key) { ++at; }
        return at < rows.size() ? const_iterator{blocks_.get(), block, at} : const_iterator{blocks_.get(), block + 1, 0};
    }

    // The row is new; true where it was.
    std::pair<Row*, bool> add(Row row) {
        if (!blocks_) {
            blocks_ = std::make_unique<Blocks>();
            blocks_->emplace_back();
        }
        auto [block, at] = place(row.key());
        if (Block& rows = (*blocks_)[block]; at < rows.size() && rows[at].key() == row.key()) { return {&rows[at], false}; }
        if ((*blocks_)[block].size() == kBlockMax) {
            split(block);
            if (at > (*blocks_)[block].size()) {
                at -= (*blocks_)[block].size();
                ++block;
            }
        }
        Block& rows = (*blocks_)[block];
        // Not doubled: most stay as small as they are.
        if (rows.size() == rows.capacity()) { rows.reserve(rows.size() + 2 + rows.size() / 4); }
        return {&*rows.insert(rows.begin() + static_cast<std::ptrdiff_t>(at), std::move(row)), true};
    }
    bool erase(std::string_view key) {
        if (!blocks_) { return false; }
        const auto [block, at] = place(key);
        Block& rows = (*blocks_)[block];
        if (at == rows.size() || rows[at].key() != key) { return false; }
        rows.erase(rows.begin() + static_cast<std::ptrdiff_t>(at));
        tidy(block);
        return true;
    }
    // In order; `gone` is asked once for each row.
    template <typename Gone>
    void erase_if(Gone gone) {
        if (!blocks_) { return; }
        for (Block& rows : *blocks_) { std::erase_if(rows, gone); }
        std::erase_if(*blocks_, [](const Block& rows) { return rows.empty(); });
        if (blocks_->empty()) { blocks_.reset(); }
    }
    void clear() { blocks_.reset(); }

 private:
    // Where the key is or would be.
    std::pair<std::size_t, std::size_t> place(std::string_view key) const {
        const Blocks& blocks = *blocks_;
        const auto behind = std::upper_bound(blocks.begin() + 1, blocks.end(), key,
                                             [](std::string_view wanted, const Block& rows) { return wanted < rows.front().key(); });
        const auto block = static_cast<std::size_t>(behind - blocks.begin()) - 1;
        const Block& rows = blocks[block];
        const auto row = std::lower_bound(rows.begin(), rows.end(), key,
                                          [](const Row& one, std::string_view wanted) { return one.key() < wanted; });
        return {block, static_cast<std::size_t>(row - rows.begin())};
    }
    void split(std::size_t block) {
        Block upper;
        upper.reserve(kBlockMax);
        Block& rows = (*blocks_)[block];
        const auto middle = rows.begin() + kBlockMax / 2;
        std::move(middle, rows.end(), std::back_inserter(upper));
        rows.erase(middle, rows.end());
        blocks_->insert(blocks_->begin() + static_cast<std::ptrdiff_t>(block) + 1, std::move(upper));
    }
    // A block that has become small joins its neighbour; room that has become large is given back.
    void tidy(std::size_t block) {
        Blocks& blocks = *blocks_;
        Block& rows = blocks[block];
        if (rows.empty()) {
            blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(block));
            if (blocks.empty()) { blocks_.reset(); }
            return;
        }
        if (block + 1 < blocks.size() && rows.size() + blocks[block + 1].size() <= kBlockMax / 2) {
            Block& next = blocks[block + 1];
            std::move(next.begin(), next.end(), std::back_inserter(rows));
            blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(block) + 1);
        } else if (rows.capacity() > 2 * rows.size() + 8) {
            rows.shrink_to_fit();
        }
    }

    std::unique_ptr<Blocks> blocks_;         // Null: empty.
};

}  // namespace starling
