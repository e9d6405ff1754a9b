#pragma once
// Reading one TOML table: known members by type and range, unknown ones with the nearest suggestion.
// Private to the configuration's sources, as it brings in the TOML library.

// The library asserts where it should report (`[[[`, a bad first letter in a table's name), and without
// assertions it tells the compiler to assume the opposite. Here both throw, in every build.
#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(expr) ((expr) ? void() : starling::server::throw_toml_assertion())
#define TOML_ENABLE_UNRELEASED_FEATURES 0
namespace starling::server {
struct TomlAssertion {};
[[noreturn]] inline void throw_toml_assertion() { throw TomlAssertion{}; }
}  // namespace starling::server
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "server/config.h"
#include "server/config_keys.h"

namespace starling::server {

class TableReader {
 public:
    TableReader(const toml::table& table, std::string path, std::string_view origin, ConfigErrors& errors)
        : table_(table), path_(std::move(path)), origin_(origin), errors_(errors) {}

    void read(std::string_view key, std::string& out) {
        if (const toml::node* node = find(key)) {
            if (const auto* value = node->as_string()) { out = value->get(); } else { fail(*node, key, "must be a string"); }
        }
    }
    void read(std::string_view key, bool& out) {
        if (const toml::node* node = find(key)) {
            if (const auto* value = node->as_boolean()) { out = value->get(); } else { fail(*node, key, "must be true or false"); }
        }
    }
    void read(std::string_view key, std::int64_t& out, std::int64_t min, std::int64_t max) {
        const toml::node* node = find(key);
        if (node == nullptr) { return; }
        const auto* value = node->as_integer();
        if (value == nullptr || value->get() < min || value->get() > max) {
            fail(*node, key, "must be an integer from " + std::to_string(min) + " to " + std::to_string(max));
            return;
        }
        out = value->get();
    }
    void read(std::string_view key, double& out, std::int64_t min, std::int64_t max) {
        const toml::node* node = find(key);
        if (node == nullptr) { return; }
        const auto value = node->is_number() ? node->value<double>() : std::nullopt;
        // Written this way round, a NaN is refused too.
        if (!value || !(*value >= static_cast<double>(min) && *value <= static_cast<double>(max))) {
            fail(*node, key, "must be a number from " + std::to_string(min) + " to " + std::to_string(max));
            return;
        }
        out = *value;
    }
    void read(std::string_view key, std::vector<std::string>& out) {
        const toml::node* node = find(key);
        if (node == nullptr) { return; }
        const auto* array = node->as_array();
        std::vector<std::string> values;
        for (std::size_t i = 0; array != nullptr && i < array->size(); ++i) {
            if (const auto* value = array->get(i)->as_string()) { values.push_back(value->get()); }
        }
        if (array == nullptr || values.size() != array->size()) {
            fail(*node, key, "must be an array of strings");
            return;
        }
        out = std::move(values);
    }
    // The sub-table, or nullptr where there is none.
    const toml::table* table(std::string_view key) {
        const toml::node* node = find(key);
        if (node == nullptr) { return nullptr; }
        if (!node->is_table()) { fail(*node, key, "must be a table"); }
        return node->as_table();
    }
    // The tables of an array of tables.
    std::vector<const toml::table*> tables(std::string_view key) {
        std::vector<const toml::table*> out;
        const toml::node* node = find(key);
        if (node == nullptr) { return out; }
        const auto* array = node->as_array();
        for (std::size_t i = 0; array != nullptr && i < array->size(); ++i) {
            if (const auto* value = array->get(i)->as_table()) { out.push_back(value); }
        }
        if (array == nullptr || out.size() != array->size()) { fail(*node, key, "must be an array of tables"); }
        return out;
    }
    bool has(std::string_view key) const { return table_.contains(key); }

    void fail(std::string_view key, std::string_view what) {
        const toml::node* node = table_.get(key);
        fail(node == nullptr ? static_cast<const toml::node&>(table_) : *node, key, what);
    }
    void fail(const toml::node& node, std::string_view key, std::string_view what) {
        std::string line(origin_);
        if (node.source().begin.line > 0) { line += ":" + std::to_string(node.source().begin.line); }
        line += ": " + join(key) + ": " + std::string(what);
        errors_.push_back(std::move(line));
    }

    // To be called last: what was not asked for is not known.
    void refuse_unknown() {
        for (const auto& [key, node] : table_) {
            if (std::ranges::find(asked_, key.str()) != asked_.end()) { continue; }
            const std::string_view hint = nearest(key.str(), asked_);
            fail(node, key.str(), hint.empty() ? std::string("unknown key") : "unknown key, did you mean " + join(hint) + "?");
        }
    }

    std::string join(std::string_view key) const { return path_.empty() ? std::string(key) : path_ + "." + std::string(key); }

 private:
    const toml::node* find(std::string_view key) {
        asked_.push_back(key);
        return table_.get(key);
    }

    const toml::table& table_;
    std::string path_;
    std::string_view origin_;
    ConfigErrors& errors_;
    std::vector<std::string_view> asked_;      // Literals, or names out of the key table.
};

// [[apps]] of the document, checked against each other too.
std::vector<AppConfig> read_apps(TableReader& root, std::string_view origin, ConfigErrors& errors);

}  // namespace starling::server
