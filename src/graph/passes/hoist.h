// Takes out of a graph what does not change from step to step, or is known before the first.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace ingot {

// Every other input is the same at all steps.
struct HoistOptions {
  std::vector<std::string> varying;   // inputs that a step makes for the next: the latent
  std::vector<std::string> stepwise;  // [1, ...]: known for all steps before the first: the time
  int64_t num_rows = 1;               // steps that one run of `hoisted` computes
};

struct Hoisted {
  // An output of `hoisted` that is the input of `main` of the same name: "hoisted.17", by its
  // node in the whole graph.
  struct Crossing {
    std::string name;
    // [num_rows, ...], of which row s is main's input [1, ...] at step s. Otherwise the value is
    // the same at all steps.
    bool stepwise = false;
  };

  Graph hoisted;  // its stepwise inputs are [num_rows, ...]
  Graph main;     // the outputs of the whole graph
  std::vector<Crossing> crossings;
};

// Cuts `graph` in two; main(varying, hoisted(the rest)) gives the same bits as `graph`. Each side
// has the inputs and weights that it needs and no others: in FLUX.1 28 % of the parameters (3.29 of
// 11.90 billion) leave main, for 4 MiB of results a step.
//
// Hoisted is what depends on no varying input. With a stepwise input it must also work on each
// row by itself, since it runs on `num_rows` of them, and be no larger than what it depends on:
// where the modulation of a step meets constant tokens, a step's rows would cross as tokens.
//
// Of the places for the cut the one that crosses the fewest bytes is taken; of equal ones the
// earliest. What main can do again from a value that crosses anyway is not crossed: views, and
// the Affine and LayerNorm that Fuse makes part of a Linear. Fuse comes after Hoist.
Hoisted Hoist(const Graph& graph, const HoistOptions& options);

}  // namespace ingot
