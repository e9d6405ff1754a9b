// The scenarios of scenarios.h under Google Benchmark, for times; its own options apply (--benchmark_filter=...).

#include <benchmark/benchmark.h>

#include "micro/scenarios.h"

int main(int count, char** words) {
    using namespace starling::bench;
    for (const Named& named : scenarios()) {
        benchmark::RegisterBenchmark(named.name, [&named](benchmark::State& state) {
            const auto scenario = named.make();
            for (auto round : state) { benchmark::DoNotOptimize(scenario->round()); }
            state.SetLabel(named.what);
        });
    }
    benchmark::Initialize(&count, words);
    if (benchmark::ReportUnrecognizedArguments(count, words)) { return 2; }
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
