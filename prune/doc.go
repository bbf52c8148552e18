// Package prune turns an order to drop layers in, and a policy of how many, into
// a [Plan], and a plan and a checkpoint into a smaller checkpoint.
//
// It does not run models: a plan is a list of kept layers, whoever made it. Where
// an order comes from is package score's business, so policies here take plain
// lists of layers. Layers are 0-based everywhere.
package prune
