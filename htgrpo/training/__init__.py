"""From rollouts to optimiser steps: engine, learner, trainer, checkpoints, rewards."""
