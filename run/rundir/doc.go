// Package rundir is what a run directory holds: the files that `coppice run`
// writes and that reports, dashboards and other programs read.
//
// Here belong the names of the files, their structs and reading them. How stages
// are run, and why, does not: the package imports results' structs alone, so that
// whatever shows a run needs no engine.
//
//	RUN/
//	  run.json                    Run: models, trials in order, how to make it again
//	  recipe.yaml                 the recipe as it was resolved; it runs to the same stages
//	  lock                        who writes here now
//	  trials/MODEL/VALUE…/
//	    trial.json                Trial: its settings, and which stages it is made of
//	    ROLE -> ../../stages/…    a link for people, where the system has links
//	  stages/KIND-HASH/           one piece of work, shared by all trials that need it
//	    …                         its files, by kind: see the constants
//	    manifest.json             Manifest; it is written last: a stage with one is done
//	    failed.json               Failure; there while the stage has failed
package rundir
