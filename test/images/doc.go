// Package images has tests of whole images: odd ones, whose right content is known, many hosts that
// import one at once, and costs beside other programs. All are built with the tag integration.
package images
