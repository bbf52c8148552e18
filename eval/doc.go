// Package eval asks a model the questions of benchmark tasks and says how sure
// the answers are: tasks as versioned YAML, the requests each document makes,
// their scores, and metrics with standard errors, all as lm-evaluation-harness
// 0.4.5 defines them.
//
// Here belong task definitions and what turns them into numbers: templates,
// few-shot sampling, encoding of requests, packing them into trees of tokens,
// filters, metrics and aggregation. How batches are run is package forest's
// work, where files come from is the caller's, and what is printed package
// report's. Comparing two results is eval/compare's.
package eval
