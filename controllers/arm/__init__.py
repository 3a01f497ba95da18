"""Control of torque-driven arms: NMPC and computed torque, models for them, estimators of what the flange holds."""
