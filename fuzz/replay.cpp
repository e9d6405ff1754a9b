// Feeds each file of a corpus to a fuzz target, and the cuts of each: the same inputs in every build,
// without a fuzzer. Ends with 1 and the file's name where the target fails.
//   corpus_replay NAME FOLDER...

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <unistd.h>

#include "replay.h"

namespace {

char current[4096];

void on_failure(int) {
    // Only what is safe in a signal handler; the loss of this line would lose nothing but a name.
    if (write(STDERR_FILENO, current, std::char_traits<char>::length(current)) < 0) { _exit(2); }
    _exit(1);
}

void feed(const ReplayTarget& target, const std::string& bytes) {
    target.take(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view name = argc > 1 ? argv[1] : "";
    const auto target = std::find_if(replay_targets.begin(), replay_targets.end(),
                                     [&](const ReplayTarget& one) { return one.name == name; });
    if (target == replay_targets.end()) {
        std::fprintf(stderr, "no fuzz target is named \"%s\"\n", argc > 1 ? argv[1] : "");
        return 2;
    }
    std::signal(SIGABRT, on_failure);
    std::size_t count = 0;
    std::snprintf(current, sizeof current, "failed at an empty input\n");
    feed(*target, {});
    for (int i = 2; i < argc; ++i) {
        if (!std::filesystem::is_directory(argv[i])) { continue; }
        for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
            std::snprintf(current, sizeof current, "failed at %s\n", entry.path().c_str());
            std::ifstream file(entry.path(), std::ios::binary);
            const std::string bytes{std::istreambuf_iterator<char>(file), {}};
            feed(*target, bytes);
            // Every cut of a small input: what a decoder meets when bytes arrive one by one.
            for (std::size_t size = 0; bytes.size() <= 512 && size < bytes.size(); ++size) { feed(*target, bytes.substr(0, size)); }
            ++count;
        }
    }
    std::printf("%zu inputs\n", count);
    return 0;
}
