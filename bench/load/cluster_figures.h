#pragma once
// One phase's figures, as JSON and as a line for people.

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "load/board.h"
#include "load/measure.h"
#include "load/wire.h"

namespace starling::bench {

class Figures {
 public:
    explicit Figures(std::string name) : name_(std::move(name)) {}
    void add(std::string_view name, double value) { raw(name, fmt::format("{:.6g}", value)); }
    void add(std::string_view name, std::uint64_t value) { raw(name, std::to_string(value)); }
    void raw(std::string_view name, std::string_view json) {
        json_ += fmt::format("{}\n   \"{}\":{}", json_.empty() ? "" : ",", name, json);
        line_ += fmt::format(" {}={}", name, json);
    }
    void add(std::string_view name, const Histogram& times) {
        std::uint64_t count = 0;
        for (const std::uint64_t each : times.counts) { count += each; }
        if (count == 0) { return; }
        raw(name, fmt::format(R"({{"count":{},"p50_ms":{:.3g},"p90_ms":{:.3g},"p99_ms":{:.3g},"p999_ms":{:.3g},"max_ms":{:.3g}}})", count,
                              times.quantile(0.5) / 1e6, times.quantile(0.9) / 1e6, times.quantile(0.99) / 1e6,
                              times.quantile(0.999) / 1e6, times.quantile(0.9999999) / 1e6));
    }
    std::string finish() const {
        fmt::print(stderr, "{}:{}\n", name_, line_);
        return fmt::format("\n  \"{}\":{{{}}}", name_, json_);
    }

 private:
    std::string name_, json_, line_;
};

inline double seconds_since(std::uint64_t begin) { return static_cast<double>(monotonic_ns() - begin) / 1e9; }

}  // namespace starling::bench
