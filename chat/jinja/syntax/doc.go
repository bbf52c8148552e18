// Package syntax reads the text of Jinja2's templates into trees of statements and expressions, with the white space
// that blocks take away already gone. How deep anything nests is bounded.
//
// Here belongs grammar: what a name, a filter or an operator does is told to it (Names) or none of its business.
package syntax
