#pragma once
// CHECK stops the process at once when an invariant of our own is broken, in release builds too:
// a gateway that goes on with a wrong presence set is worse than one that restarts.

#include <cstdio>
#include <cstdlib>

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) [[unlikely]] {                                                  \
            std::fprintf(stderr, "CHECK failed: %s at %s:%d\n", #condition, __FILE__, __LINE__); \
            std::abort();                                                                 \
        }                                                                                 \
    } while (false)

// Returns the error of an expected to the caller.
#define STARLING_TRY(expression)                                            \
    do {                                                                    \
        if (auto result_ = (expression); !result_) [[unlikely]] {           \
            return std::unexpected(std::move(result_).error());             \
        }                                                                   \
    } while (false)
