// Strokes in the plane, one of up to twenty kinds (in place of CharacterTrajectories of the UEA
// archive, which HiPPO's timescale experiment uses). Even kinds are Lissajous figures (sin(a s +
// d), sin(b s)), odd ones Catmull-Rom splines through six fixed points. An element is its kind's
// curve run through at a speed of its own, turned, scaled, moved, and measured with noise; sample i
// of rate r is the position at the time i r / length, so rates see the same strokes.
#pragma once
#include <array>

#include "data/tasks.h"

namespace kindred::data {

inline constexpr int64_t kStrokes = 20;

/// The point of a kind at s in [0, 1], without variation.
std::array<double, 2> stroke(int64_t kind, double s);

/// Inputs x, y; target the kind. With `missing` p > 0 each sample but the first is dropped with
/// probability p, and a third channel holds the source steps since the one before. Length 200.
Task trajectories_task(const TaskOptions& options);

}  // namespace kindred::data
