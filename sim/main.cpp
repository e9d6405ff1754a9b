// starling_sim: runs seeds and says which fail.
#include <unistd.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>

#include "world.h"

namespace {

using namespace starling;
using namespace starling::sim;

struct Asked {
    std::uint64_t first = 1, count = 1;
    bool one = false, shrink = false;
    bool boundaries = false;                 // Each script's reply of each seed in turn, held or lost.
    bool rules = false;                      // Each switched off in turn.
    std::uint32_t jobs = 1;
    std::string file;                        // Of regressions.
    std::vector<std::pair<std::string, std::string>> changes;
};

constexpr const char* kUsage = R"(usage: starling_sim [--seeds N] [--seed S] [--jobs J] [--mode safety|liveness|stories] [--off RULE]... [--trace] [--shrink]
                    [--file FILE] [--rules] [options of a run, as a failing seed prints them]

  --seeds N    run N seeds, from --seed (default 1) on
  --seed S     without --seeds: this one alone
  --off R4     with a rule of the protocol switched off
  --trace      print all that happens
  --digest     print a hash of all that happens, the same for two builds that do the same
  --boundaries run each seed once for each script that Redis runs in it, with that one's reply held or lost and no other fault
  --shrink     leave out faults as long as the seed still fails
  --file FILE  each line of it is the options of one run
  --mode M     safety; liveness: the first node and Redis stay well; stories: one story of faults at a bad moment, in place of drawn ones
  --rules      each rule switched off in turn until a seed fails, as a story or with drawn faults, of --seeds N (default 1000) at most
)";

// One option of a run; false: there is no such.
bool change(Options& options, const std::string& name, const std::string& value) {
    const auto number = [&] { return static_cast<std::uint32_t>(std::strtoul(value.c_str(), nullptr, 10)); };
    // Whole: faults are drawn from it, and a run that is a microsecond shorter is another one.
    const auto time = [&] { return Duration(std::strtoll(value.c_str(), nullptr, 10)); };
    if (name == "--nodes") { options.nodes = number(); }
    else if (name == "--shards") { options.shards = number(); }
    else if (name == "--partitions") { options.partitions = number(); }
    else if (name == "--users") { options.users = number(); }
    else if (name == "--tabs") { options.tabs = number(); }
    else if (name == "--channels") { options.channels = number(); }
    else if (name == "--active-ns") { options.active = time(); }
    else if (name == "--quiet-ms") { options.quiet = Duration(1ms) * number(); }
    else if (name == "--drift") { options.drift = number() != 0; }
    else if (name == "--sharded") { options.sharded = number() != 0; }
    else if (name == "--operations-max") { options.operations_max = number(); }
    else if (name == "--snapshot-max") { options.snapshot_max = number(); }
    else if (name == "--scan-whole") { options.scan_whole = number(); }
    else if (name == "--history") { options.history_size = number(); }
    else if (name == "--list-limit") { options.list_limit = number(); }
    else if (name == "--silence-ns") { options.silence = time(); }
    else if (name == "--faults") { options.faults_max = number(); }
    else if (name == "--later") { options.later_max = number(); }
    else if (name == "--splits") { options.splits = number() != 0; }
    else if (name == "--next-version") { options.next_version = number(); }
    else if (name == "--next-breaks") { options.next_breaks = number() != 0; }
    else if (name == "--boundary") { options.boundary = number(); }
    else if (name == "--leave-out") { options.leave_out.insert(number()); }
    else if (name == "--off") { return switch_off(options.off, value); }
    else { return false; }
    return true;
}

Options options_of(const Asked& asked, std::uint64_t seed) {
    Mode mode = Mode::safety;
    bool memory = false;
    for (const auto& [name, value] : asked.changes) {
        if (name == "--mode") { mode = *mode_of(value); }
        memory = memory || name == "--memory";
    }
    Options options = draw_options(seed, mode);
    if (memory) {
        options.memory = true;
        options.nodes = options.shards = 1;
    }
    for (const auto& [name, value] : asked.changes) {
        if (name == "--trace") { options.trace = true; }
        else if (name == "--digest") { options.digest = true; }
        else if (name != "--mode" && name != "--memory" && !change(options, name, value)) {
            std::fprintf(stderr, "%s %s?\n%s", name.c_str(), value.c_str(), kUsage);
            std::exit(2);
        }
    }
    return options;
}

// Leaves out one fault after the other, for good where the run fails without it too.
Options shrink(Options options, ScriptHost& host) {
    options.trace = false;
    const std::size_t count = draw_faults(options).size() + options.leave_out.size();
    for (std::uint32_t i = 0; i < count; ++i) {
        Options less = options;
        if (!less.leave_out.insert(i).second) { continue; }
        if (World(less, host).run()) { options = less; }
    }
    return options;
}

// The runs of a seed in which the reply of the first script, of the second and so on is held or lost; the number of those that failed.
std::uint64_t run_boundaries(const Options& options, ScriptHost& host, std::uint64_t& runs) {
    Options each = options;
    each.boundary = UINT32_MAX;              // None: how many there are.
    World whole(each, host);
    bool failed_whole = whole.run().has_value();
    std::uint64_t failed = failed_whole;
    for (std::uint32_t i = 1; i <= whole.scripts_in_faults() && !failed_whole; ++i) {
        each.boundary = i;
        ++runs;
        if (const auto found = World(each, host).run()) {
            ++failed;
            std::printf("FAIL %s: %s\n", describe(each).c_str(), found->c_str());
            std::fflush(stdout);
        }
    }
    return failed;
}

// Every `step`th seed from `first` on; the number of those that failed.
std::uint64_t run_seeds(const Asked& asked, std::uint64_t first, std::uint64_t end, std::uint64_t step) {
    ScriptHost host;
    std::uint64_t failed = 0;
    for (std::uint64_t seed = first; seed < end; seed += step) {
        Options options = options_of(asked, seed);
        if (asked.boundaries) {
            std::uint64_t runs = 0;
            failed += run_boundaries(options, host, runs);
            std::printf("seed %llu: %llu boundaries\n", static_cast<unsigned long long>(seed), static_cast<unsigned long long>(runs));
            continue;
        }
        World world(options, host);
        auto found = world.run();
        if (options.digest) { std::printf("%llu %016llx\n", static_cast<unsigned long long>(seed), static_cast<unsigned long long>(world.digest())); }
        if (!found) { continue; }
        ++failed;
        if (asked.shrink) {
            options = shrink(options, host);
            found = World(options, host).run();
        }
        std::printf("FAIL %s: %s\n", describe(options).c_str(), found.value_or("?").c_str());
        for (const auto& fault : draw_faults(options)) { if (asked.one || asked.shrink) { std::printf("     %s\n", describe(fault).c_str()); } }
        std::fflush(stdout);
    }
    return failed;
}

// Whether a seed fails with this rule switched off; prints the first one.
bool is_caught(const Asked& asked, const char* rule) {
    ScriptHost host;
    for (std::uint64_t seed = asked.first; seed < asked.first + asked.count; ++seed) {
        for (const Mode mode : {Mode::stories, Mode::safety}) {
            Options options = draw_options(seed, mode);
            switch_off(options.off, rule);
            const auto found = World(options, host).run();
            if (!found) { continue; }
            std::printf("%s is caught: %s: %s\n", rule, describe(options).c_str(), found->c_str());
            std::fflush(stdout);
            return true;
        }
    }
    std::printf("FAIL %s is not caught\n", rule);
    std::fflush(stdout);
    return false;
}

// In processes of their own; what they return, together.
std::uint64_t in_jobs(std::uint32_t jobs, const std::function<std::uint64_t(std::uint32_t job)>& work) {
    if (jobs <= 1) { return work(0); }
    std::vector<std::pair<pid_t, int>> children;
    for (std::uint32_t job = 0; job < jobs; ++job) {
        int ends[2];
        if (pipe(ends) != 0) { std::exit(2); }
        const pid_t child = fork();
        if (child == 0) {
            const std::uint64_t failed = work(job);
            _exit(write(ends[1], &failed, sizeof failed) == sizeof failed ? 0 : 1);
        }
        ::close(ends[1]);
        children.emplace_back(child, ends[0]);
    }
    std::uint64_t failed = 0;
    for (const auto& [child, end] : children) {
        std::uint64_t part = 0;
        // A child that died had found something worse than a violation.
        if (read(end, &part, sizeof part) != sizeof part) { part = 1; std::printf("FAIL a job ended early\n"); }
        failed += part;
        ::close(end);
        waitpid(child, nullptr, 0);
    }
    return failed;
}

std::uint64_t run_jobs(const Asked& asked) {
    const std::uint32_t step = std::max<std::uint32_t>(1, asked.jobs);
    return in_jobs(asked.jobs, [&](std::uint32_t job) { return run_seeds(asked, asked.first + job, asked.first + asked.count, step); });
}

// How many are not caught.
std::uint64_t run_rules(const Asked& asked) {
    const std::uint32_t step = std::max<std::uint32_t>(1, asked.jobs);
    return in_jobs(asked.jobs, [&](std::uint32_t job) {
        std::uint64_t failed = 0;
        for (std::size_t i = job; i < kRules.size(); i += step) { failed += !is_caught(asked, kRules[i]); }
        return failed;
    });
}

bool refuse(const std::string& why) {
    std::fprintf(stderr, "%s\n", why.c_str());
    return false;
}

bool parse(const std::vector<std::string>& words, Asked& asked) {
    bool seeds_given = false, seed_given = false;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const auto& word = words[i];
        if (word == "--trace" || word == "--digest" || word == "--memory") { asked.changes.emplace_back(word, ""); continue; }
        if (word == "--shrink") { asked.shrink = true; continue; }
        if (word == "--boundaries") { asked.boundaries = true; continue; }
        if (word == "--rules") { asked.rules = true; continue; }
        if (i + 1 == words.size()) { return false; }
        const auto& value = words[++i];
        if (word == "--seeds") { asked.count = std::strtoull(value.c_str(), nullptr, 10); seeds_given = true; }
        else if (word == "--seed") { asked.first = std::strtoull(value.c_str(), nullptr, 10); seed_given = true; }
        else if (word == "--jobs") { asked.jobs = static_cast<std::uint32_t>(std::strtoul(value.c_str(), nullptr, 10)); }
        else if (word == "--file") { asked.file = value; }
        else { asked.changes.emplace_back(word, value); }
    }
    asked.one = seed_given && !seeds_given;
    if (asked.rules && !seeds_given) { asked.count = 1000; }
    bool stories = false, boundary = asked.boundaries;
    for (const auto& [name, value] : asked.changes) {
        if (name == "--mode") {
            if (!mode_of(value)) { return refuse("--mode " + value + "?"); }
            stories = *mode_of(value) == Mode::stories;
        }
        boundary = boundary || name == "--boundary";
    }
    if (stories && boundary) { return refuse("a story is the only thing that is amiss in its run: no --boundary with --mode stories"); }
    if (asked.rules && (boundary || asked.shrink || !asked.changes.empty() || !asked.file.empty())) {
        return refuse("--rules takes --seed, --seeds and --jobs alone");
    }
    return true;
}

}  // namespace

int main(int argc, char** argv) {
    Asked asked;
    if (!parse({argv + 1, argv + argc}, asked)) {
        std::fputs(kUsage, stderr);
        return 2;
    }
    std::uint64_t count = 0, failed = 0;
    if (asked.rules) {
        failed = run_rules(asked);
        std::printf("%zu rules, %llu failed\n", kRules.size(), static_cast<unsigned long long>(failed));
        return failed == 0 ? 0 : 1;
    }
    if (asked.file.empty()) {
        count = asked.count;
        failed = run_jobs(asked);
    } else {
        std::ifstream file(asked.file);
        if (!file) { std::fprintf(stderr, "%s cannot be read\n", asked.file.c_str()); return 2; }
        for (std::string line; std::getline(file, line);) {
            if (line.empty() || line.starts_with('#')) { continue; }
            std::istringstream in(line);
            std::vector<std::string> words;
            for (std::string word; in >> word;) { words.push_back(word); }
            Asked each;
            if (!parse(words, each)) { std::fprintf(stderr, "%s?\n", line.c_str()); return 2; }
            ++count;
            failed += run_jobs(each);
        }
    }
    std::printf("%llu seeds, %llu failed\n", static_cast<unsigned long long>(count), static_cast<unsigned long long>(failed));
    return failed == 0 ? 0 : 1;
}
