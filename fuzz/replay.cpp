// Feeds each file of a corpus to a fuzz target, and the cuts of each: the same inputs in every build,
// without a fuzzer. Ends with 1 and the file's name where the target fails.

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <unistd.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

char current[4096];

void on_failure(int) {
    // Only what is safe in a signal handler; the loss of this line would lose nothing but a name.
    if (write(STDERR_FILENO, current, std::char_traits<char>::length(current)) < 0) { _exit(2); }
    _exit(1);
}

void feed(const std::string& bytes) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGABRT, on_failure);
    std::size_t count = 0;
    std::snprintf(current, sizeof current, "failed at an empty input\n");
    feed({});
    for (int i = 1; i < argc; ++i) {
        if (!std::filesystem::is_directory(argv[i])) { continue; }
        for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
            std::snprintf(current, sizeof current, "failed at %s\n", entry.path().c_str());
            std::ifstream file(entry.path(), std::ios::binary);
            const std::string bytes{std::istreambuf_iterator<char>(file), {}};
            feed(bytes);
            // Every cut of a small input: what a decoder meets when bytes arrive one by one.
            for (std::size_t size = 0; bytes.size() <= 512 && size < bytes.size(); ++size) { feed(bytes.substr(0, size)); }
            ++count;
        }
    }
    std::printf("%zu inputs\n", count);
    return 0;
}
