#pragma once
// The scenario `cluster`: all connections over several nodes, presence audited, joins, typing and messages timed
// while they are open, memory and CPU at rest, a storm in which all come back, and the death of a node.

#include "load/cluster_options.h"

namespace starling::bench {

// JSON on stdout, a line for each phase on stderr; 0 where every phase was as it should be.
int run_cluster(const ClusterOptions& options);

}  // namespace starling::bench
