"""What runs report to an experiment tracker."""
