#include "server/cli.h"
#include "server/gateway.h"

int main(int argc, char** argv) {
    return starling::server::run_cli(argc, argv, [](const starling::server::Invocation& invocation) {
        return starling::server::run_gateway(invocation.sources, invocation.config);
    });
}
