// Package run makes trials of recipes and runs them: score, prune, heal, measure,
// with a directory as the only state.
//
// A recipe (recipe.go, load.go, merge.go) is expanded into trials (matrix.go), a
// trial into stages (build.go): values with a kind, resolved inputs, the stages that
// they need, and a function. Stages that trials have in common are one stage, and
// those that can share passes over the weights are run in one call. What a stage is
// is decided by the hash of its inputs, so it is run once, whatever its trials are
// called.
//
// What can be asked of a model is package stage's; what a run directory holds is
// rundir's; how a run is shown does not belong here either.
package run
