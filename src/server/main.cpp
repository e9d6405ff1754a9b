#include <sys/resource.h>

#include "server/cli.h"
#include "server/gateway.h"

namespace {

// A connection is one descriptor, and shells still hand out a soft limit of 1,024.
void raise_descriptors() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) { return; }
    limit.rlim_cur = limit.rlim_max;
    // Where it is refused the old limit stays, and `doctor` tells it.
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int main(int argc, char** argv) {
    return starling::server::run_cli(argc, argv, [](const starling::server::Invocation& invocation) {
        raise_descriptors();
        return starling::server::run_gateway(invocation.sources, invocation.config);
    });
}
