//! A heated zone: one thermal mass, one heater, one controller with integral action.

/// A zone's fixed properties.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ZoneDesign {
    /// Power of the whole heater, kW.
    pub(crate) heater_kw: f64,
    /// Rise over the surroundings per kW in the steady state, K/kW.
    pub(crate) kelvin_per_kw: f64,
    /// Time constant, s.
    pub(crate) tau_s: f64,
    /// Duty per kelvin of error.
    pub(crate) gain: f64,
    /// Integral time of the controller, s.
    pub(crate) integral_s: f64,
}

/// What acts on a zone from outside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ZoneInput {
    /// `None` while switched off.
    pub(crate) setpoint: Option<f64>,
    /// Temperature of the surroundings, °C.
    pub(crate) surroundings: f64,
    /// Share of the heater that works, 0 to 1.
    pub(crate) available: f64,
    /// Heat that product and neighbours take, kW.
    pub(crate) loss_kw: f64,
}

/// The state of a zone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Zone {
    pub(crate) celsius: f64,
    /// Controller's output, 0 to 1.
    pub(crate) duty: f64,
    integral: f64,
}

impl Zone {
    pub(crate) fn new(celsius: f64) -> Self {
        Zone { celsius, duty: 0.0, integral: 0.0 }
    }

    /// Advances by `dt_s` and returns the electrical power, kW.
    pub(crate) fn step(&mut self, design: &ZoneDesign, dt_s: f64, input: ZoneInput) -> f64 {
        match input.setpoint {
            Some(setpoint) => {
                let error = setpoint - self.celsius;
                let wanted = design.gain * error + self.integral;
                self.duty = wanted.clamp(0.0, 1.0);
                // The integral rests while the output is at its end in the error's direction: no wind-up.
                if (wanted < 1.0 || error < 0.0) && (wanted > 0.0 || error > 0.0) {
                    let change = design.gain * error * dt_s / design.integral_s;
                    self.integral = (self.integral + change).clamp(0.0, 1.0);
                }
            }
            None => {
                self.duty = 0.0;
                self.integral = 0.0;
            }
        }
        let power_kw = design.heater_kw * self.duty * input.available;
        // Product takes heat only while the zone is hotter than it; it can't cool the zone below the hall.
        let loss_kw = if self.celsius > input.surroundings { input.loss_kw } else { input.loss_kw.min(0.0) };
        let target = input.surroundings + (power_kw - loss_kw) * design.kelvin_per_kw;
        self.celsius += (target - self.celsius) * (1.0 - (-dt_s / design.tau_s).exp());
        power_kw
    }
}

#[cfg(test)]
mod tests {
    use super::{Zone, ZoneDesign, ZoneInput};

    const OVEN_ZONE: ZoneDesign =
        ZoneDesign { heater_kw: 30.0, kelvin_per_kw: 12.5, tau_s: 2400.0, gain: 0.05, integral_s: 600.0 };

    fn after(seconds: u32, start: f64, setpoint: Option<f64>, available: f64) -> Zone {
        let mut zone = Zone::new(start);
        let input = ZoneInput { setpoint, surroundings: 25.0, available, loss_kw: 0.0 };
        for _ in 0..seconds {
            zone.step(&OVEN_ZONE, 1.0, input);
        }
        zone
    }

    #[test]
    fn a_zone_converges_to_its_setpoint() {
        let zone = after(3 * 3600, 22.0, Some(210.0), 1.0);
        assert!((zone.celsius - 210.0).abs() < 1.0, "{zone:?}");
        assert!(zone.duty > 0.4 && zone.duty < 0.6, "{zone:?}");
    }

    #[test]
    fn a_zone_without_two_of_three_elements_stays_cold_at_full_duty() {
        let zone = after(3 * 3600, 22.0, Some(210.0), 1.0 / 3.0);
        assert!(zone.celsius < 160.0, "{zone:?}");
        assert!(zone.duty > 0.99, "{zone:?}");
    }

    #[test]
    fn a_zone_cools_to_the_hall_when_off() {
        let zone = after(6 * 3600, 210.0, None, 1.0);
        assert!((zone.celsius - 25.0).abs() < 1.0, "{zone:?}");
    }
}
